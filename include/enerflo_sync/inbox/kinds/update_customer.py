"""A lead or customer changed; the vendor's own sample carries the wrong event name (REFERENCE.md §13.2)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_customer import customer_kind

KIND = customer_kind("update_customer", "1.2")
