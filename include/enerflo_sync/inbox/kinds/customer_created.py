"""A customer was made (v2). Two or three copies within seconds are usual, some empty (REFERENCE.md §11)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_v2_customer import v2_customer_kind

KIND = v2_customer_kind("customer.created", "1.2", "payload.customer.id")
