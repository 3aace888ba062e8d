"""A row that was deleted from the CRM is known by the columns that named its record."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.explain import run_explain
from tests.writes.conftest import Desk
from tests.writes.kept import brought

MILESTONES = "    key: {enerflo_install_id: install_id, milestone_id: milestone_id}\n"
JOINED = "    join: {enerflo_install_id: install_id, milestone_id: milestone_id}\n"
MADE = (
    'id: "m-{install_id}-{milestone_id}", enerflo_install_id: "{install_id}", milestone_id: "{milestone_id}"'
)


@pytest.fixture(params=["id", "enerflo_install_id, id"])
def surrogate(desk: Desk, request: pytest.FixtureRequest) -> Desk:
    """Milestones that the CRM names by a key of its own, and matches by install and definition."""
    brought(desk, _surrogate, request.param)
    return desk


def _surrogate(desk: Desk, key: str) -> None:
    desk.sql("alter table crm.milestones drop constraint milestones_pkey")
    desk.sql("alter table crm.milestones add id text")
    desk.sql("update crm.milestones set id = concat('m-', enerflo_install_id, '-', milestone_id)")
    desk.sql(f"alter table crm.milestones add primary key ({key})")
    desk.sql("alter table crm.milestones add unique (enerflo_install_id, milestone_id)")
    keyed = f"    key: [{key}]\n{JOINED}    on_insert: {{{MADE}}}\n"
    desk.switched_on("crm", (MILESTONES, keyed))
    desk.carried()


def milestone_ids(desk: Desk, install_id: int) -> list[int]:
    rows = desk.sql(
        "select milestone_id from enerflo.milestones where install_id = :id order by 1", id=install_id
    )
    return [row["milestone_id"] for row in rows]


def gets_milestone_999(desk: Desk, install_id: int) -> None:
    desk.sql(
        "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
        " values ('default', :id, 999, 'New', now(), 'poll')",
        id=install_id,
    )


def made(desk: Desk) -> set[tuple[str, str]]:
    return {(change.op, change.key["id"]) for change in desk.changes(desk.plan())}


def test_a_new_milestone_of_an_install_is_made_though_others_were_agreed_on(surrogate: Desk) -> None:
    install = surrogate.a_site().install_id
    gets_milestone_999(surrogate, install)
    assert made(surrogate) == {("insert", f"m-{install}-999")}


def test_a_new_milestone_of_an_install_is_made_though_another_has_the_same(surrogate: Desk) -> None:
    first, other = (
        surrogate.one(f"select {which}(install_id) from enerflo.installs") for which in ("min", "max")
    )
    gets_milestone_999(surrogate, first)
    surrogate.carried()
    gets_milestone_999(surrogate, other)
    assert made(surrogate) == {("insert", f"m-{other}-999")}


def test_a_milestone_that_was_deleted_from_the_crm_is_not_made_again(surrogate: Desk) -> None:
    install = surrogate.a_site().install_id
    first = milestone_ids(surrogate, install)[0]
    surrogate.sql(
        "delete from crm.milestones where enerflo_install_id = :id and milestone_id = :first",
        id=install,
        first=first,
    )
    plan = surrogate.plan()
    assert surrogate.changes(plan) == []
    assert [one.cause for one in surrogate.undecided(plan)] == ["deleted_in_crm"]


@pytest.fixture
def text_link(desk: Desk) -> Desk:
    """Notes whose link is a text in the CRM, and a number as a field."""
    desk.sql("alter table crm.notes alter enerflo_note_id type text")
    desk.switched_on(
        "crm",
        (
            "      enerflo_install_id: {enerflo: install_id, type: integer, source_of_truth: enerflo}\n      body:",
            "      enerflo_install_id: {enerflo: install_id, type: integer, source_of_truth: enerflo}\n"
            "      enerflo_note_id: {enerflo: note_id, type: integer, source_of_truth: enerflo}\n      body:",
        ),
    )
    desk.carried()
    return desk


def test_a_note_whose_link_is_mapped_as_a_number_is_known_by_its_text(text_link: Desk) -> None:
    note = text_link.one("select min(enerflo_note_id::bigint) from crm.notes")
    text_link.sql("delete from crm.notes where enerflo_note_id = :note", note=str(note))
    plan = text_link.plan()
    assert text_link.changes(plan) == []
    assert [one.cause for one in text_link.undecided(plan)] == ["deleted_in_crm"]
    assert "note_id" in run_explain(text_link.context, "note", f"enerflo:{note}").key
