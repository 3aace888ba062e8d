"""A CRM row that was one of several stays so under another key, until it is equal by itself."""

from __future__ import annotations

import pytest

from tests.writes.conftest import Desk
from tests.writes.test_identity import in_progress, projects, status_of
from tests.writes.test_twins import edited, pushed, twin


def one_of_two(desk: Desk, *, policy: str) -> int:
    """Two rows of one record, of which a plan knows; then one goes, and the other one gets another key."""
    projects(desk, unique=False, status=policy)
    install = in_progress(desk)[0]
    desk.sql("truncate sync.agreed")
    twin(desk, install, "copy", "On Hold")
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{install}")
    desk.sql("update crm.installs set project_id = 'new', updated_at = now() where project_id = 'copy'")
    return install


@pytest.mark.parametrize("policy", ["newest", "crm", "review"])
def test_what_is_left_of_two_rows_proposes_nothing_under_another_key(desk: Desk, policy: str) -> None:
    install = one_of_two(desk, policy=policy)
    before = pushed(desk)
    for _ in range(2):
        plan = desk.plan()
        (asked,) = [one for one in desk.undecided(plan) if one.key == {"project_id": "new"}]
        assert (asked.field, asked.cause) == ("status", "duplicate_identity")
        desk.carried()
    assert (pushed(desk), status_of(desk, install)) == (before, "In progress")


def test_renumbered_and_equal_by_itself_it_is_a_row_as_any_other(desk: Desk) -> None:
    install = one_of_two(desk, policy="newest")
    desk.carried()
    edited(desk, "new", "In progress")
    desk.carried()
    marks = desk.sql(
        "select key from sync.agreed_twins where key ->> 'project_id' = 'new'"
        " or key -> '' ->> 'install_id' = :id",
        id=str(install),
    )
    assert marks == []
    # Under a further key it is not taken for one of two again.
    desk.sql("update crm.installs set project_id = 'newer', updated_at = now() where project_id = 'new'")
    desk.carried()
    edited(desk, "newer", "Cancelled")
    desk.carried()
    assert status_of(desk, install) == "Cancelled"
