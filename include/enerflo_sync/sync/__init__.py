"""Both ways: the values on which both sides agree, plans, their approval and application, the ledger."""
