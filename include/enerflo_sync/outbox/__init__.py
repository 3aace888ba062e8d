"""A plan's changes to Enerflo: which were sent, their request bodies, and Enerflo's spelling of values."""
