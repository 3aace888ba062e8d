"""Bring records from poll, webhook and backfill into the mirror tables, by one path."""
