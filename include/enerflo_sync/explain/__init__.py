"""Explains why a record's fields have their values, from versions, evidence, decisions and what waits."""
