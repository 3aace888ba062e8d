"""A CRM time far ahead of the clock wins nothing, and loses nothing."""

from __future__ import annotations

import pytest

from tests.writes.conftest import Desk


@pytest.mark.parametrize(
    ("changed", "direction"),
    [
        ("now() + interval '5 minutes'", "to_enerflo"),
        ("now() + interval '2 days'", None),
        ("'2099-01-01'", None),
        ("'infinity'", None),
    ],
)
def test_where_both_sides_moved_and_the_crms_time_is_of_the_future_a_person_is_asked(
    agreed: Desk, changed: str, direction: str | None
) -> None:
    """These rows have no unique key: nobody knows since when they are as they are."""
    install_id = agreed.a_site().install_id
    agreed.sql(
        f"update crm.installs set status = 'On Hold', updated_at = {changed} where enerflo_install_id = :id",
        id=install_id,
    )
    agreed.sql(
        "update enerflo.installs set status_name = 'Completed', updated_at = now(), observed_at = now()"
        " where install_id = :id",
        id=install_id,
    )
    plan = agreed.plan()
    assert [change.direction for change in agreed.changes(plan)] == ([direction] if direction else [])
    assert [one.field for one in agreed.undecided(plan)] == ([] if direction else ["status"])


def test_what_only_the_crm_changed_goes_to_enerflo_whatever_its_time(agreed: Desk) -> None:
    agreed.sql(
        "update crm.installs set status = 'On Hold', updated_at = '2099-01-01' where enerflo_install_id = :id",
        id=agreed.a_site().install_id,
    )
    assert [change.direction for change in agreed.changes(agreed.plan())] == ["to_enerflo"]
