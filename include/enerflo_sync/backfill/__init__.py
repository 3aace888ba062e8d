"""Backfills: chosen installs read again, estimated first, in parts, in a lane that yields to live work."""
