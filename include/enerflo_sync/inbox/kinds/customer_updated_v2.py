"""A customer changed (v2): ``payload.current`` beside ``payload.previous`` (REFERENCE.md §10)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_v2_customer import v2_customer_kind

KIND = v2_customer_kind(
    "customer.updated.v2", "1.2", "payload.current.id", "payload.customer.id", "payload.previous.id"
)
