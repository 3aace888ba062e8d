"""Salesforce as the CRM behind a copied table: its REST API receives the approved changes."""
