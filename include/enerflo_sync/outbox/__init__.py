"""A plan's changes toward Enerflo: which were sent, what their bodies hold, and how Enerflo spells it."""
