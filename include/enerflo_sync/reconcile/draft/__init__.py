"""A first mapping: which of a warehouse's tables hold Enerflo's records, and how each column is compared."""
