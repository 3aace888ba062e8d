"""Enerflo's kinds of records, one file each, and the classes that describe them."""
