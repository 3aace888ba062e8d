"""Deletion by evidence: two sweeps or a 404, never one look; a shrunken source deletes nothing."""

from __future__ import annotations

from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company

GONE = "select absent_since is not null, deleted_at is not null from enerflo.{} where install_id = :id"


def ids(company: Company) -> list[int]:
    return sorted((row.install_id for row in company.world.truth.installs()), reverse=True)


def test_an_install_that_answers_404_is_deleted_with_its_milestones(company: Company) -> None:
    company.poll()
    victim = ids(company)[10]
    company.world.delete_install(victim)
    report = company.poll(PollResource.INSTALLS)
    assert report.reasons["notice"] == {"absent": 1, "deleted": 1}
    assert company.rows(GONE.format("installs"), id=victim) == [(True, True)]
    assert {deleted for _, deleted in company.rows(GONE.format("milestones"), id=victim)} == {True}


def test_without_a_direct_read_it_takes_two_sweeps(company: Company) -> None:
    company.poll()
    victim = ids(company)[10]
    company.world.delete_install(victim)
    company.poll(PollResource.INSTALLS, confirmations=0)
    assert company.rows(GONE.format("installs"), id=victim) == [(True, False)]
    company.poll(PollResource.INSTALLS, confirmations=0)
    assert company.rows(GONE.format("installs"), id=victim) == [(True, True)]


def test_a_tombstone_keeps_the_last_known_values(company: Company) -> None:
    company.poll()
    victim = ids(company)[10]
    before = company.rows(
        "select status_name, customer_name from enerflo.installs where install_id = :id", id=victim
    )
    company.world.delete_install(victim)
    company.poll()
    after = company.rows(
        "select status_name, customer_name from enerflo.installs where install_id = :id", id=victim
    )
    assert after == before
    assert before[0][0] is not None


def test_a_source_that_shrinks_suddenly_deletes_nothing_and_says_what_to_do(company: Company) -> None:
    company.poll()
    for install_id in ids(company)[:30]:
        company.world.delete_install(install_id)
    report = company.poll(PollResource.INSTALLS)
    assert report.state is RunState.PARTIAL
    (reason,) = report.reasons["incomplete"]
    assert "Enerflo lists 30 installs where the mirror holds 60" in reason
    assert "--accept-shrink" in reason
    assert company.rows("select count(*) from enerflo.installs where absent_since is not null") == [(0,)]


def test_a_person_can_say_that_the_source_really_shrank(company: Company) -> None:
    company.poll()
    for install_id in ids(company)[:30]:
        company.world.delete_install(install_id)
    company.poll(PollResource.INSTALLS, accept_shrink=True)
    assert company.rows("select count(*) from enerflo.installs where deleted_at is null") == [(30,)]


def test_a_walk_that_breaks_off_is_no_evidence(company: Company) -> None:
    company.poll()
    victim = ids(company)[-1]
    company.world.delete_install(victim)
    company.faults = ["html_page@/api/v3/installs#3-9"]
    report = company.poll(PollResource.INSTALLS)
    assert report.state is RunState.PARTIAL
    assert company.rows(GONE.format("installs"), id=victim) == [(False, False)]


def test_a_note_deleted_in_enerflo_gets_enerflos_own_time(company: Company) -> None:
    company.poll()
    note_id = next(row.note_id for row in company.world.truth.notes() if row.deleted_at is None)
    company.world.delete_note(note_id)
    company.poll(PollResource.NOTES, full=True)
    truth = next(row for row in company.world.truth.notes() if row.note_id == note_id)
    assert company.rows("select deleted_at from enerflo.notes where note_id = :id", id=note_id) == [
        (truth.deleted_at,)
    ]


def test_notes_and_change_orders_go_with_their_install(company: Company) -> None:
    company.poll()
    victims = company.rows(
        "select install_id from enerflo.change_orders join enerflo.notes n using (install_id) limit 1"
    )[0]
    company.world.delete_install(victims[0])
    company.poll()
    for table in ("notes", "change_orders", "milestones"):
        rows = company.rows(GONE.format(table), id=victims[0])
        assert rows, table
        assert set(rows) == {(True, True)}, table
    company.assert_mirror_is_true()
