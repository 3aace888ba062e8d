"""The doctor says how far Enerflo's clock is from the warehouse's where a field goes to the later side."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.server import SandboxServer
from tests.cli.conftest import SHIPPED, Run
from tests.cli.test_doctor_match import demo


def dated(monkeypatch: pytest.MonkeyPatch, served: SandboxServer, seconds: int) -> None:
    """Let the company date its answers, by a clock that is ahead."""
    answer = served.api.handle

    def handle(request: Request) -> Response:
        found = answer(request)
        found.headers["date"] = formatdate(time.time() + seconds, usegmt=True)
        return found

    monkeypatch.setattr(served.api, "handle", handle)


def clocks(run: Run) -> Any:
    found = run("doctor", "--json")
    return next((one for one in found.json["checks"] if one["name"] == "clocks"), None)


@pytest.mark.parametrize(("seconds", "words"), [(420, "ahead of"), (-420, "behind")])
def test_a_clock_of_enerflo_that_is_minutes_away_is_a_warning(
    run: Run,
    warehouse_url: str,
    monkeypatch: pytest.MonkeyPatch,
    served: SandboxServer,
    seconds: int,
    words: str,
) -> None:
    demo(run, warehouse_url)
    dated(monkeypatch, served, seconds)
    (one,) = clocks(run)["findings"]
    assert one["severity"] == "warning"
    assert f"s {words} the warehouse's" in one["found"]
    assert one["next_step"].startswith("Of two edits of one field within that time, the earlier one may win.")


def test_clocks_that_agree_are_one_line(
    run: Run, warehouse_url: str, monkeypatch: pytest.MonkeyPatch, served: SandboxServer
) -> None:
    demo(run, warehouse_url)
    dated(monkeypatch, served, 0)
    found = clocks(run)
    assert found["findings"] == []
    assert found["detail"].startswith("compared with the warehouse's: Enerflo's is ")


def test_an_answer_without_a_date_tells_nothing(run: Run, warehouse_url: str) -> None:
    demo(run, warehouse_url)
    assert clocks(run) is None


def test_no_clock_is_asked_where_no_field_goes_to_the_later_side(
    run: Run,
    warehouse_url: str,
    monkeypatch: pytest.MonkeyPatch,
    served: SandboxServer,
    tmp_path: Path,
) -> None:
    demo(run, warehouse_url)
    dated(monkeypatch, served, 420)
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text().replace("source_of_truth: newest", "source_of_truth: review"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    assert clocks(run) is None
