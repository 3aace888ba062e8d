"""Reasons of outcomes of writes to Enerflo, as the ledger stores them and other modules compare them."""

from __future__ import annotations

NOT_KEPT = "Enerflo accepted it and did not keep it: check the field names under writes."
ALREADY_SO = "was already so"
FOUND_AFTER = "found there; the answer to the write was lost"
