"""The declared mapping between the mirror and the CRM tables, and its check against the live warehouse."""
