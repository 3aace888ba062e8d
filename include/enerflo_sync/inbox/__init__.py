"""Ingest webhook payloads from storage once, then read the records that they name from Enerflo."""
