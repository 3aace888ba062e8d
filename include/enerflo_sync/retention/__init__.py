"""Deletes by age what nothing needs any more, and erases the personal data of a person."""
