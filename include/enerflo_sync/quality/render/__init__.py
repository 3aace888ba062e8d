"""The result of the checks for people: as text, and as a page."""
