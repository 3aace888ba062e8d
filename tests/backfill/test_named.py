"""Named installs: one by one with their notes and orders, or by their pages where that takes less."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.backfill.ids import ids_of_file, ids_of_query, ids_of_text
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.request import MOST_IDS, named_request
from enerflo_sync.backfill.store import State
from enerflo_sync.backfill.texts import report_lines
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.run_page import RunFacts, RunPage, read_run
from enerflo_sync.reconcile.render.verdict import Tone
from tests.backfill.conftest import Desk, assert_identity, desk_of


def test_ids_and_deals_are_read_with_milestones_notes_and_orders(desk: Desk) -> None:
    rows = list(desk.world.truth.installs())
    by_id, by_deal = rows[10:14], rows[20:22]
    report = desk.backfill(
        desk.named(*(row.install_id for row in by_id), deals=tuple(row.deal_id for row in by_deal))
    )
    assert report.state is State.FINISHED
    assert_identity(report)
    wanted = {row.install_id for row in (*by_id, *by_deal)}
    assert desk.mirrored() == wanted
    notes = {note.note_id for note in desk.world.truth.notes(deleted=False) if note.install_id in wanted}
    assert {
        row[0] for row in desk.rows("select note_id from enerflo.notes where deleted_at is null")
    } == notes
    orders = {
        order.change_order_id for order in desk.world.truth.change_orders() if order.install_id in wanted
    }
    assert {row[0] for row in desk.rows("select change_order_id from enerflo.change_orders")} == orders


@pytest.mark.parametrize(("path", "part"), [("notes", "notes"), ("change-order-data", "change_orders")])
@pytest.mark.parametrize("fault", ["403", "404", "success_false"])
def test_what_is_not_read_of_a_named_install_makes_the_run_partial(
    desk: Desk, path: str, part: str, fault: str
) -> None:
    one = sorted(row.install_id for row in desk.world.truth.installs())[3]
    desk.faults = [f"{fault}@/api/v3/installs/{one}/{path}#1-99"]
    report = desk.backfill(desk.named(one))
    assert desk.mirrored() == {one}
    assert [why.partition(":")[0] for why in report.reasons["incomplete"]] == [part]
    assert report.needs_a_person
    assert page_of(desk, report).tone is Tone.UNSURE
    desk.faults = []
    assert page_of(desk, desk.backfill(desk.named(one))).tone is Tone.GOOD


def page_of(desk: Desk, report: BackfillReport) -> RunPage:
    """Return the page of the DAG run that made a backfill, which Airflow calls a success."""
    found = RunFacts(
        dag_id="enerflo_backfill",
        run_id="manual",
        job="backfill",
        account=desk.account,
        state="success",
        queued_at=None,
        started_at=None,
        ended_at=None,
        note="",
        results={"backfill_id": report.backfill_id},
    )
    with desk.warehouse.connect() as connection:
        return read_run(connection, found)


def test_what_the_source_does_not_know_is_missing_and_what_it_lost_is_deleted(desk: Desk) -> None:
    desk.poll()
    gone, *_ = desk.mirrored()
    desk.world.delete_install(gone)
    other_companys = 99_999_999
    report = desk.backfill(desk.named(gone, other_companys, *list(desk.mirrored() - {gone})[:3]))
    assert report.missing == 2
    assert report.read >= 3
    assert gone not in desk.mirrored()
    assert desk.rows("select count(*) from enerflo.installs where deleted_at is not null") == [(1,)]


def test_ids_that_nobody_knows_are_named_and_need_a_person(desk: Desk) -> None:
    desk.poll()
    gone, read, *_ = desk.mirrored()
    desk.world.delete_install(gone)
    report = desk.backfill(
        desk.named(gone, read, 99_999_999, deals=("ffffffff-0000-4000-8000-000000000000",))
    )
    assert report.unknown == ["99999999", "ffffffff-0000-4000-8000-000000000000"]
    assert report.needs_a_person
    assert any("named: 99999999, ffffffff" in line for line in report_lines(report))
    assert page_of(desk, report).tone is Tone.UNSURE
    # What Enerflo had, and lost, was found out: that is what such a backfill is for.
    assert not desk.backfill(desk.named(gone, read)).needs_a_person


def test_so_many_missing_at_once_are_not_believed(desk: Desk) -> None:
    desk.poll()
    lost = sorted(desk.mirrored())[:80]
    for install_id in lost:
        desk.world.delete_install(install_id)
    report = desk.backfill(desk.named(*lost))
    assert report.missing == 80
    assert desk.rows("select count(*) from enerflo.installs where deleted_at is not null")[0][0] <= 40
    assert any("believed" in reason for reason in report.reasons["incomplete"])
    assert report.needs_a_person


def test_many_ids_are_read_by_their_pages(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 600)
    ids = sorted(row.install_id for row in desk.world.truth.installs())[100:400:2]
    report = desk.backfill(desk.named(*ids, 1, 99_999_999))
    assert desk.mirrored() == set(ids)
    assert report.requests < len(ids)
    assert report.missing == 2
    assert report.unknown == ["1", "99999999"]
    assert report.skipped > 0
    # Whoever names installs wants each of them read: those that were not asked for are told.
    report = desk.backfill(desk.named(*ids, 1, 99_999_999), confirmations=1)
    assert (report.unknown, report.reasons["incomplete"]) == (
        ["1"],
        {"not named by the list, and not asked for yet": 1},
    )
    assert report.needs_a_person


def test_a_hundred_thousand_ids_take_no_more_requests_than_their_pages(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 2_000)
    ids = {row.install_id for row in desk.world.truth.installs()} | set(range(4_400_001, 4_500_001))
    report = desk.backfills(per_page=100).estimate(desk.named(*ids))
    assert report.estimate is not None
    assert report.estimate.install_requests <= 21
    assert report.requests < 60


def test_ids_come_from_text_file_and_query(desk: Desk, tmp_path: Path) -> None:
    uuid = "0f5b8a52-1c7e-5d4a-a2b3-9c0d1e2f3a4b"
    assert ids_of_text(f"12, 13\n14;12 {uuid.upper()}") == ([12, 13, 14], [uuid])
    path = tmp_path / "ids.csv"
    path.write_text(f"install_id\n12\n\n13,\n{uuid}\n")
    assert ids_of_file(path) == ([12, 13], [uuid])
    desk.poll()
    query = "select install_id from enerflo.installs where created_at::date < '2025-01-01' limit 5;"
    found, deals = ids_of_query(desk.warehouse, query)
    assert len(found) == 5
    assert deals == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12\nabc\n13\n-4", "2 entries are neither .*line 2, 4"),
        ("1.5", "1 entry is"),
        ("0", "1 entry is"),
        ("99999999999999999999", "1 entry is"),
        ("0f5b8a52-1c7e-5d4a-a2b3", "1 entry is"),
        ("\n".join("x" * 8), "8 entries are neither .*and 3 more"),
    ],
)
def test_what_is_no_id_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ids_of_text(text)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("delete from enerflo.installs returning install_id", "refuses the query"),
        ("select nothing from nowhere", "refuses the query"),
        ("select 'abc'", "neither an install id"),
        ("drop table enerflo.installs", "refuses the query"),
    ],
)
def test_a_query_may_only_read_ids(desk: Desk, query: str, said: str) -> None:
    desk.poll()
    with pytest.raises(ConfigurationError, match=said):
        ids_of_query(desk.warehouse, query)
    assert len(desk.mirrored()) == 200


def test_no_id_and_too_many_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no install is named"):
        named_request([], [])
    with pytest.raises(ConfigurationError, match="are the most"):
        named_request(range(1, MOST_IDS + 2), [])


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ids_of_file(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ids_of_file(tmp_path / "binary")
