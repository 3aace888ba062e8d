"""How well the two sides of a mapped table fit before any reconciliation: keys, formats, labels, advice."""
