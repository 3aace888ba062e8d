"""Backfills: read chosen installs again, estimated first, in chunks, at lower priority than live work."""
