"""The agreed values of both sides, the outcomes of all changes in the ledger, and handed-over changes."""
