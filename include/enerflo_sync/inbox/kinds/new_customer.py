"""A lead or customer was made in Enerflo (REFERENCE.md §9)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_customer import customer_kind

KIND = customer_kind("new_customer", "1.2")
