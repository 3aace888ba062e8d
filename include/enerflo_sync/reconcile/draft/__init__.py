"""A first mapping: which tables of a warehouse hold Enerflo's records, and how each column is compared."""
