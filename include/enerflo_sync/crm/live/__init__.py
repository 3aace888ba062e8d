"""What a live CRM table allows: whose copy it is, what may be written, and the rights that a role needs."""
