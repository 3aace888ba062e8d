"""CRM tables in another database: copies of them are kept here, and approved changes are carried there."""
