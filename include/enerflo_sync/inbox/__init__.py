"""Webhook payloads that were dropped to storage: taken in once, then their records are read again."""
