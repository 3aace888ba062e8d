"""The life cycle of installs: the declared graph of its steps, and the histories that violate it."""
