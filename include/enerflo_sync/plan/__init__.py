"""What is to be done about each difference: decisions, approval, refusals, undo, another mapping."""
