"""An installer received a signed project: the other side of ``deal.projectSubmitted`` (REFERENCE.md §10)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_deal import submission_kind

KIND = submission_kind("deal.projectReceived")
