"""Salesforce as the CRM behind a copied table: approved changes are carried there by its REST API."""
