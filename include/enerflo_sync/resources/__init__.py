"""What Enerflo has: one file for each kind of record, and what all of them are made of."""
