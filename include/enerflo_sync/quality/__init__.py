"""The checks of change orders: a declared suite, the orders that fail it, and the gate that holds them."""
