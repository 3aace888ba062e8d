"""The server's disk is full in the middle of a job: the job says so, and goes on once there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _make_migrated
from tests.own_server import OwnServer, fill, running, small_disk
from tests.writes.cut_jobs import JOBS, CutJob, Templates, converged, make_templates, told_by

FULL = "the database server's disk is full (SQLSTATE 53100)."
# A full disk may also stop the server, where its log of changes does not fit any more.
STOPPED = "the server could not be reached, or the connection was lost"
KILOBYTE = 1024


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with small_disk(700) as folder:
        yield folder


@pytest.fixture(scope="module")
def server(disk: Path) -> Iterator[OwnServer]:
    with running(OwnServer.made(disk / "pg")) as found:
        _make_migrated(found.url)
        yield found


@pytest.fixture(scope="module")
def templates(server: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return make_templates(server.url, tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("left", [0, 160 * KILOBYTE], ids=["full", "nearly full"])
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_says_that_the_disk_is_full_and_goes_on_once_there_is_room(
    disk: Path, server: OwnServer, templates: Templates, tmp_path: Path, job: CutJob, left: int
) -> None:
    with templates.desk(job, tmp_path / "whole") as desk:
        usual = converged(job, desk)
    with templates.desk(job, tmp_path / "full") as desk:
        server.checkpoint()
        ballast = fill(disk, left)
        try:
            told = told_by(job, desk)
            again = told_by(job, desk)
        finally:
            ballast.unlink()
        if not server.runs:
            server.start()
        if not left:
            assert FULL in told or STOPPED in told, told
        assert all(not words or FULL in words or STOPPED in words for words in (told, again)), (told, again)
        assert converged(job, desk) == usual
