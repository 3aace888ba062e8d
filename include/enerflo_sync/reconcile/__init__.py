"""Compare the mirror with the CRM tables, give every difference a cause, and report it."""
