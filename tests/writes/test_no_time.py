"""Under ``newest``: a CRM row whose time of change is empty says nothing of when it was edited."""

from __future__ import annotations

import pytest

from tests.writes.conftest import Desk
from tests.writes.test_newest import crm_status, direction, keyed, mirror_status

__all__ = ["keyed"]


@pytest.fixture(params=["keyed", "agreed"])
def both(request: pytest.FixtureRequest) -> Desk:
    """An account whose two sides agree, with a unique key in the CRM and without."""
    found: Desk = request.getfixturevalue(request.param)
    found.sql("alter table crm.installs alter updated_at drop not null")
    return found


@pytest.mark.parametrize("at", ["null", "'-infinity'"])
def test_where_both_sides_changed_it_a_person_is_asked(both: Desk, at: str) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    crm_status(both, install, "Cancelled", at)
    plan = both.plan()
    assert both.changes(plan, field="status") == []
    (asked,) = [one for one in both.undecided(plan) if one.field == "status"]
    assert "does not tell" in str(asked.reason)


@pytest.mark.parametrize("at", ["null", "'-infinity'"])
def test_where_one_side_changed_it_that_one_stands(both: Desk, at: str) -> None:
    install = both.a_site().install_id
    crm_status(both, install, "Cancelled", at)
    assert direction(both) == ["to_enerflo"]
    crm_status(both, install, "In progress", at)
    both.plan()
    mirror_status(both, install, "On Hold", "now()")
    assert direction(both) == ["to_crm"]


@pytest.mark.parametrize("at", ["null", "'-infinity'"])
def test_where_both_never_agreed_a_person_is_asked(both: Desk, at: str) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    crm_status(both, install, "Cancelled", at)
    both.sql("delete from sync.agreed where field = 'status'")
    plan = both.plan()
    assert both.changes(plan, field="status") == []
    (asked,) = [one for one in both.undecided(plan) if one.field == "status"]
    assert "does not tell" in str(asked.reason)
