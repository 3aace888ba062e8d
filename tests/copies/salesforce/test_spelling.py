"""Values reach Salesforce in the form of the field's type, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from enerflo_sync.copies.salesforce.spelling import NotSpelledError, spelled

DENVER = "America/Denver"
NOON = datetime(2026, 7, 1, 12, 0, 1, 250_000)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("Closed Won", "picklist", "Closed Won"),
        (None, "string", None),
        (None, "date", None),
        (Decimal("12.50"), "string", "12.50"),
        (True, "string", "true"),
        (Decimal("12.5"), "currency", Decimal("12.5")),
        (7, "double", Decimal(7)),
        (" 7.5 ", "double", Decimal("7.5")),
        (True, "boolean", True),
        (0, "boolean", False),
        (1, "boolean", True),
        (" T ", "boolean", True),
        *((text, "boolean", False) for text in ("false", "f", "F", "0")),
        (7, "string", "7"),
        (False, "string", "false"),
        *(("x", kind, "x") for kind in ("textarea", "reference", "email", "phone", "url", "id")),
        *((Decimal("-1E+3"), kind, Decimal("-1000")) for kind in ("int", "long", "percent")),
        (Decimal("1E+3"), "string", "1000"),
        # Cut, and never rounded up into the next second.
        (NOON.replace(microsecond=999_999, tzinfo=UTC), "datetime", "2026-07-01T12:00:01.999+0000"),
        (NOON.replace(microsecond=7_000, tzinfo=UTC), "datetime", "2026-07-01T12:00:01.007+0000"),
        ("true", "boolean", True),
        (date(2026, 7, 1), "date", "2026-07-01"),
        ("2026-07-01", "date", "2026-07-01"),
        # A time without a zone is one of the mapping's zone.
        (NOON, "datetime", "2026-07-01T18:00:01.250+0000"),
        (NOON.replace(tzinfo=UTC), "datetime", "2026-07-01T12:00:01.250+0000"),
    ],
)
def test_a_value_is_spelled_by_the_fields_type(value: Any, kind: str, expected: Any) -> None:
    made = spelled(value, kind, DENVER)
    assert (made, type(made)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "boolean"),
        ("n/a", "double"),
        ("NaN", "double"),
        (True, "double"),
        # Whose day or midnight it is nobody said.
        (NOON, "date"),
        (date(2026, 7, 1), "datetime"),
        ("yesterday", "date"),
        ("2026-07-01T12:00:00Z", "datetime"),
        (NOON, "string"),
        ("x", "address"),
        ("maybe", "boolean"),
        (2, "boolean"),
        (Decimal("Infinity"), "double"),
        ("2026-07-011", "date"),
        ("on 2026-07-01", "date"),
        (1.5, "string"),
    ],
)
def test_what_does_not_fit_is_not_sent_and_the_value_is_not_told(value: Any, kind: str) -> None:
    with pytest.raises(NotSpelledError) as caught:
        spelled(value, kind, DENVER)
    assert str(value) not in str(caught.value) or value is None
