"""What an answer that repeating does not change says to do next."""

from __future__ import annotations

import pytest

from enerflo_sync.enerflo.refusals import refusal


@pytest.mark.parametrize(
    ("where", "is_said"),
    [
        ("PUT /api/v3/customers/7", True),
        ("GET /api/v3/customers", False),
        ("GET /api/v3/installs", False),
        ("PUT /api/v3/installs/7", False),
    ],
)
def test_the_unconverted_lead_is_named_for_updates_of_customers_alone(where: str, is_said: bool) -> None:
    error = refusal(403, where, None)
    assert ("unconverted lead" in str(error)) is is_said
    assert "permission" in str(error)
