"""Workers whose clocks are wrong: nothing freezes, nothing is hidden, and a person is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sync.cli import doctor
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.prune import run_prune
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk


def worker_whose_clock_is(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    monkeypatch.setattr(SystemClock, "now", lambda _self: datetime.now(UTC) + ahead)


def poll_on_another_worker(desk: Desk, monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Poll in a process of its own, whose machine's clock is wrong."""
    with monkeypatch.context() as patch:
        worker_whose_clock_is(patch, ahead)
        place = desk.context
        other = type(place)(place.account, place.config, place.config_path, place.credentials)
        assert run_poll(other).state == "ok"
        other.close()


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(minutes=-20), timedelta(hours=-5)])
def test_a_worker_s_skew_hides_and_freezes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    desk.switched_on("crm")
    desk.carried()
    install = desk.a_site().install_id
    desk.world.set_status(install, 4)
    poll_on_another_worker(desk, monkeypatch, ahead)
    seen = desk.one("select observed_at from enerflo.installs where install_id = :id", id=install)
    assert abs(seen - desk.one("select now()")) < timedelta(minutes=1)
    # As if the last look had been a moment ago: an observation of the past would lie before it.
    assert run_reconcile(desk.context).scope == "incremental"
    desk.carried()
    assert desk.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    # A later answer, read by a worker whose clock is right, is not older than the first.
    desk.world.set_status(install, 1304)
    run_poll(desk.context)
    desk.carried()
    assert desk.crm("installs", enerflo_install_id=install)["status"] == "Cancelled"


def test_the_skew_is_in_the_run_s_record_the_report_and_the_doctor(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_reconcile(desk.context).remarks == []
    poll_on_another_worker(desk, monkeypatch, timedelta(minutes=-20))
    ahead = "select clock_ahead_seconds from sync.runs where job = 'poll' order by started_at desc limit 1"
    assert desk.one(ahead) == pytest.approx(-1200, abs=5)
    (remark,) = run_reconcile(desk.context).remarks
    assert "the worker's clock was 1,200 s behind the database's" in remark
    with monkeypatch.context() as patch:
        worker_whose_clock_is(patch, timedelta(days=1))
        place = desk.context
        other = type(place)(place.account, place.config, place.config_path, place.credentials)
        assert "86,400 s ahead of the database's" in doctor._server(other)
        other.close()


@pytest.mark.parametrize("ahead", [timedelta(days=-366), timedelta(days=400)])
def test_nothing_is_pruned_where_one_clock_is_wrong_by_days(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """A server whose clock jumped a year ahead would find everything old, and a prune cannot be taken back."""
    with monkeypatch.context() as patch:
        worker_whose_clock_is(patch, ahead)
        place = desk.context
        other = type(place)(place.account, place.config, place.config_path, place.credentials)
        for dry in (True, False):
            with pytest.raises(
                ConfigurationError, match=r"days apart; one of them is wrong, and nothing was deleted"
            ):
                run_prune(other, dry=dry)
        other.close()
    assert desk.one("select count(*) from sync.runs where job = 'prune'") == 0
    assert run_prune(desk.context).run_id is not None


def test_every_row_is_compared_once_a_week_and_the_report_says_when(desk: Desk) -> None:
    first = run_reconcile(desk.context)
    assert (first.scope, first.last_full_at) == ("full", first.started_at)
    second = run_reconcile(desk.context)
    assert (second.scope, second.last_full_at) == ("incremental", first.started_at)
    desk.sql("update sync.reconciliations set compared_until = compared_until - interval '8 days'")
    third = run_reconcile(desk.context)
    assert (third.scope, third.last_full_at) == ("full", third.started_at)
    assert run_reconcile(desk.context).scope == "incremental"
