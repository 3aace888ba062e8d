"""What a backfill may be asked for, and what is refused before the first request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from enerflo_sync.backfill.request import window_request
from enerflo_sync.backfill.store import State
from enerflo_sync.errors import ConfigurationError
from tests.backfill.conftest import Desk

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2025-05-01", "2025-04-01", "ends before it begins"),
        ("2026-03-03", None, "begins in the future"),
        ("2027-01-01", "2027-02-01", "begins in the future"),
        (None, None, "neither a beginning nor an end"),
        ("yesterday", None, "from is no date"),
        ("2025-02-30", None, "from is no date"),
        (None, "1999-01-01", "ends before 2000"),
        ("2025-05-01T10:00Z", "2025-05-01T10:00Z", "ends before it begins"),
    ],
)
def test_a_window_that_cannot_be_is_refused(start: str | None, end: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        window_request(start, end, now=NOW)


def test_a_day_is_read_to_its_end_and_a_window_that_is_not_over_has_none() -> None:
    request = window_request("2025-05-01", "2025-05-31", now=NOW)
    assert request.window_from == datetime(2025, 5, 1, tzinfo=UTC)
    assert request.window_to == datetime(2025, 6, 1, tzinfo=UTC)
    assert request.words == "2025-05-01 … 2025-05-31"
    assert window_request("2025-05-01", "2030-01-01", now=NOW).window_to is None
    assert window_request("2025-05-01", "2025-05-01", now=NOW).words == "2025-05-01"
    one = window_request("2025-05-01", None, now=NOW)
    assert one.hash == window_request("2025-05-01", None, now=datetime(2026, 3, 5, tzinfo=UTC)).hash


def test_before_the_company_existed_is_refused_without_a_request_where_it_was_polled(desk: Desk) -> None:
    desk.poll()
    backfills = desk.backfills()
    with pytest.raises(ConfigurationError, match="before the company's first install"):
        backfills.backfill(desk.window("2010-01-01", "2011-01-01"))
    assert desk.api is not None
    assert not desk.api.requests
    assert desk.rows("select count(*) from sync.backfills") == [(0,)]


def test_before_the_company_existed_is_refused_after_a_look_where_it_was_not(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="before the company's first install"):
        desk.backfill(desk.window("2010-01-01", "2011-01-01"))
    assert desk.mirrored() == set()


def test_ten_years_are_what_there_is_of_them(desk: Desk) -> None:
    report = desk.backfill(desk.window("2016-01-01", "2025-12-31"))
    assert report.state is State.FINISHED
    assert desk.mirrored() == desk.of_window(desk.window(None, "2025-12-31"))


def test_a_window_after_the_last_install_reads_nothing_and_says_so(desk: Desk) -> None:
    desk.clock.advance(86_400 * 60)
    report = desk.backfill(desk.window(desk.day(-30), None))
    assert (report.state, report.new, report.changed) == (State.FINISHED, 0, 0)


def test_an_empty_company_is_read_and_found_empty(desk: Desk) -> None:
    desk.world = type(desk.world)(0, seed=1, start=desk.clock.now(), clock=desk.clock)
    for request in (desk.everything(), desk.window(desk.day(500), desk.day(300))):
        report = desk.backfill(request)
        assert (report.state, report.read) == (State.FINISHED, 0)
