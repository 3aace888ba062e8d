"""A backfill of everything is a full sweep: it feeds deletion by evidence as a poll does, in the backfill lane."""

from __future__ import annotations

import pytest

from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World
from enerflo_sync.backfill.request import Part
from enerflo_sync.backfill.store import State
from enerflo_sync.enerflo.failures import AuthenticationError
from tests.backfill.conftest import Desk

INSTALLS = frozenset({Part.INSTALLS})
GONE = (
    "select count(*) filter (where deleted_at is not null), count(*) filter (where absent_since is not null)"
    " from enerflo.installs"
)


def without(desk: Desk, count: int) -> None:
    for install_id in sorted(desk.mirrored())[:count]:
        desk.world.delete_install(install_id)


def test_installs_that_everything_does_not_name_are_absent_and_after_the_next_look_deleted(
    desk: Desk,
) -> None:
    desk.poll()
    without(desk, 3)
    first = desk.backfill(desk.everything(INSTALLS), confirmations=0)
    assert desk.rows(GONE) == [(0, 3)]
    # Nobody has looked for them yet.
    assert first.missing == 0
    assert first.reasons["notice"]["not named by the list, and not asked for yet"] == 3
    desk.poll(confirmations=0)
    assert desk.rows(GONE) == [(3, 3)]


def test_an_install_that_lost_its_id_is_not_taken_for_missing(desk: Desk) -> None:
    desk.poll()
    desk.world.plant_bad(sorted(desk.mirrored())[3], BadKind.MISSING_ID)
    for _ in range(2):
        report = desk.backfill(desk.everything(INSTALLS), confirmations=0)
        assert (report.missing, desk.rows(GONE)) == (0, [(0, 0)])


def test_the_missing_are_asked_for_and_a_404_is_proof_enough(desk: Desk) -> None:
    desk.poll()
    without(desk, 3)
    report = desk.backfill(desk.everything(INSTALLS))
    assert report.missing == 3
    assert desk.rows(GONE) == [(3, 3)]
    assert report.reasons["notice"]["deleted"] == 3


def test_a_window_says_what_is_missing_and_deletes_only_what_answers_404(desk: Desk) -> None:
    desk.poll()
    request = desk.window(desk.day(500), desk.day(300), INSTALLS)
    lost = sorted(desk.of_window(request))[:4]
    for install_id in lost:
        desk.world.delete_install(install_id)
    report = desk.backfill(request, confirmations=3)
    assert report.missing == 3
    assert report.reasons["notice"]["not named by the list, and not asked for yet"] == 1
    assert desk.rows(GONE) == [(3, 3)]


def test_where_more_are_gone_than_is_believed_at_once_the_run_is_partial(desk: Desk) -> None:
    desk.poll()
    request = desk.window(desk.day(500), desk.day(100), INSTALLS)
    for install_id in sorted(desk.of_window(request))[:60]:
        desk.world.delete_install(install_id)
    report = desk.backfill(request, confirmations=100)
    assert desk.rows(GONE) == [(0, 0)]
    assert "gone than is believed at once" in str(report.reasons["incomplete"])
    assert report.needs_a_person
    assert desk.rows("select state from sync.runs where job = 'backfill'") == [("partial",)]


def test_one_look_counts_once_even_when_its_end_is_done_twice(desk: Desk) -> None:
    desk.poll()
    without(desk, 5)

    def revoke(asked: Request, _world: World) -> None:
        if asked.path.startswith("/api/v3/installs/44") and desk.api is not None:
            desk.api.keys = frozenset()

    desk.before_request = revoke
    with pytest.raises(AuthenticationError):
        desk.backfill(desk.everything(INSTALLS), confirmations=1)
    assert desk.rows(GONE) == [(0, 5)]
    desk.before_request = None
    ((backfill_id,),) = desk.rows("select backfill_id from sync.backfills")
    report = desk.backfills(confirmations=1).resume(backfill_id)
    assert report.state is State.FINISHED
    assert desk.rows(GONE) == [(1, 5)]


def test_everything_moves_the_watermark_to_its_start_and_a_window_does_not(desk: Desk) -> None:
    desk.backfill(desk.window(desk.day(500), desk.day(300), INSTALLS))
    assert desk.rows("select name from sync.watermarks") == []
    report = desk.backfill(desk.everything(INSTALLS))
    assert desk.rows("select name, value from sync.watermarks") == [("installs", report.started_at)]


def test_a_source_that_lists_far_fewer_deletes_nothing(desk: Desk) -> None:
    desk.poll()
    without(desk, 120)
    report = desk.backfill(desk.everything(INSTALLS))
    assert report.is_partial
    assert any("Nothing was deleted" in why for why in report.reasons["incomplete"])
    assert desk.rows(GONE) == [(0, 0)]
