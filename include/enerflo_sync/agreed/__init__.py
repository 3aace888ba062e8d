"""The values on which both sides last agreed, and the ledger of what became of every change."""
