"""A sales organisation handed over a signed project; again for a re-signed one (REFERENCE.md §10)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_deal import submission_kind

KIND = submission_kind("deal.projectSubmitted")
