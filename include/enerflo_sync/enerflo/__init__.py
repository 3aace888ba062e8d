"""The vendor's REST API: one client, one request budget per key, one file per resource."""
