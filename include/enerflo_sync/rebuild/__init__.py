"""Derives the mirror again from stored raw versions and webhook events, without calls to the API."""
