"""Telling people what happened: looked for in the warehouse, told once, on the routes of sync.yaml."""
