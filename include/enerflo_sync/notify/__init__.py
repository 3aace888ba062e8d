"""Notify people: find news in the warehouse, and send each once along the routes of sync.yaml."""
