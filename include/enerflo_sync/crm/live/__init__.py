"""What a live CRM table allows: whether it is a copy, what can be written, and which rights a role needs."""
