"""The checks' result for people: as text, and as a page."""
