"""The warehouse goes away in the middle of a job: the job says so, and the next run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import _make_migrated
from tests.own_server import OwnServer, own_folder, running
from tests.writes.conftest import Desk
from tests.writes.cut_jobs import (
    JOBS,
    CutJob,
    Templates,
    before_statement,
    converged,
    make_templates,
    sent,
    told_by,
)

LOST = ("the server could not be reached, or the connection was lost", "the server ended the connection")
# Statements of each job, and what Enerflo is sent by it where nothing is lost.
_whole: dict[str, tuple[int, list[tuple[str, str]]]] = {}


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_folder("lost") as folder, running(OwnServer.made(folder / "pg")) as found:
        _make_migrated(found.url)
        yield found


@pytest.fixture(scope="module")
def templates(server: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return make_templates(server.url, tmp_path_factory.mktemp("made"))


def whole(job: CutJob, templates: Templates, folder: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return how many statements a job makes, and what Enerflo is sent until both sides agree."""
    if job.name not in _whole:
        with templates.desk(job, folder) as desk:
            with before_statement(desk.engine, 0, lambda: None) as counted:
                assert told_by(job, desk) == ""
            number = counted[0]
            _whole[job.name] = number, converged(job, desk)
    return _whole[job.name]


def ends_sessions(desk: Desk, server: OwnServer) -> None:
    """Let the server end the desk's sessions, as an administrator or a failing proxy does."""
    own = sa.create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"
    with own.connect() as connection:
        connection.execute(sa.text(query), {"name": desk.engine.url.database})


def crashes(_: Desk, server: OwnServer) -> None:
    """Let the server crash, and come back."""
    server.stop("immediate")
    server.start()


@pytest.mark.parametrize(
    ("share", "lost"),
    [(0.2, ends_sessions), (0.5, ends_sessions), (0.35, crashes)],
    ids=["early", "late", "crash"],
)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_that_loses_the_server_says_so_and_the_next_run_converges(
    server: OwnServer,
    templates: Templates,
    tmp_path: Path,
    job: CutJob,
    share: float,
    lost: Callable[[Desk, OwnServer], None],
) -> None:
    number, usual = whole(job, templates, tmp_path / "whole")
    with templates.desk(job, tmp_path / "cut") as desk:
        at = max(int(number * share), 1)
        with before_statement(desk.engine, at, lambda: lost(desk, server)) as counted:
            told = told_by(job, desk)
        # A job makes not always as many statements, as some of them wait for a clock.
        assert counted[0] >= at
        # A session that was idle is replaced, and nothing has to be said.
        assert told == "" or any(words in told for words in LOST), told
        before = len(sent(desk))
        assert converged(job, desk) == usual
        assert before <= len(usual)
