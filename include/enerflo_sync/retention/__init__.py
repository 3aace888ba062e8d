"""Deletes old data that nothing needs any more, and erases one customer's personal data."""
