"""Load records from poll, webhook and backfill into the mirror tables, through one path."""
