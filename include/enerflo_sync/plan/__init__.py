"""Plans: decisions about each difference, approval, refusals, undo, and what-if under another mapping."""
