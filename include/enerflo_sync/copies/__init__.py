"""CRM tables in another database: we keep copies of them, and carry approved changes to that database."""
