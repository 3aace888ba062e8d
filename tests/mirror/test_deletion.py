"""Deletion by evidence: two sweeps or a 404, never one look; a shrunken source deletes nothing."""

from __future__ import annotations

from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World
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


def test_two_polls_at_once_that_miss_an_install_are_one_look(company: Company) -> None:
    company.poll()
    victim = ids(company)[10]
    company.world.delete_install(victim)
    other = Company(company.warehouse, company.world, company.clock)
    polled: list[str] = []

    def poll_elsewhere(request: Request, _: World) -> None:
        if request.path == "/api/v3/installs" and request.parameters()["page"] == "2" and not polled:
            company.clock.advance(5)
            polled.append(other.poll(PollResource.INSTALLS, confirmations=0).run_id)

    company.before_request = poll_elsewhere
    company.poll(PollResource.INSTALLS, confirmations=0)
    assert polled
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


def test_a_small_company_that_is_suddenly_empty_is_not_believed(company: Company) -> None:
    company.world = type(company.world)(8, seed=1, start=company.clock.now(), clock=company.clock)
    company.poll(PollResource.INSTALLS)
    for install_id in ids(company):
        company.world.delete_install(install_id)
    report = company.poll(PollResource.INSTALLS)
    assert report.state is RunState.PARTIAL
    assert company.rows("select count(*) from enerflo.installs where deleted_at is null") == [(8,)]


def test_an_install_that_is_listed_again_after_one_absence_is_present_again(company: Company) -> None:
    company.poll(PollResource.INSTALLS)
    with company.warehouse.begin() as connection:
        connection.exec_driver_sql("update enerflo.installs set absent_since = now()")
    company.poll(PollResource.INSTALLS)
    assert company.rows("select count(*) from enerflo.installs where absent_since is not null") == [(0,)]


def test_one_accounts_sweep_leaves_the_others_rows_alone(company: Company) -> None:
    company.poll(PollResource.INSTALLS)
    other = Company(company.warehouse, company.world, company.clock, account="other")
    other.world = type(company.world)(20, seed=99, start=company.clock.now(), clock=company.clock)
    other.poll(PollResource.INSTALLS)
    other.poll(PollResource.INSTALLS)
    query = "select count(*) from enerflo.installs where account = 'default' and absent_since is null"
    assert company.rows(query) == [(60,)]


def test_what_another_reader_saw_during_the_walk_is_not_absent(company: Company) -> None:
    company.poll(PollResource.INSTALLS)
    other = Company(company.warehouse, company.world, company.clock)
    made: list[int] = []

    def sign_and_store_elsewhere(request: Request, world: World) -> None:
        if request.path == "/api/v3/installs" and request.parameters()["page"] == "2" and not made:
            company.clock.advance(5)
            made.append(world.create_install())
            other.poll(PollResource.INSTALLS)

    company.before_request = sign_and_store_elsewhere
    company.poll(PollResource.INSTALLS, confirmations=0)
    assert company.rows(GONE.format("installs"), id=made[0]) == [(False, False)]


def test_one_install_that_cannot_be_read_directly_does_not_stop_the_others(company: Company) -> None:
    company.lean_lists = True
    newest = ids(company)[0]
    company.faults = [f"success_false@/api/v3/installs/{newest}#1-99"]
    report = company.poll(PollResource.INSTALLS, details=100)
    assert report.state is RunState.PARTIAL
    read = {install_id for (install_id,) in company.mirror("milestones", ["install_id"])}
    assert read == set(ids(company)) - {newest}
