"""How the two sides of a mapped table fit, before anything is reconciled: keys, formats, labels, advice."""
