"""A standby of the warehouse's server: reports on it, jobs refused there, and a failover to it in the middle of a job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY
from enerflo_sync import frames
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.warehouse.engine import warehouse_engine, warehouse_errors
from tests.conftest import _make_migrated
from tests.own_server import OwnServer, own_folder, running
from tests.writes.conftest import Desk
from tests.writes.cut_jobs import JOBS, before_statement, converged, make_templates, told_by

READS_ONLY = "the server only reads: it is a standby of another one"
Command = Callable[..., tuple[int, str, str]]

READING = [
    ("explain", "install", "{install}"),
    ("gaps",),
    ("witnesses",),
    ("quarantine", "list"),
    ("reopen",),
    ("ledger", "verify"),
    ("fields",),
    ("doctor",),
]
WRITING = [
    ("poll",),
    ("ingest",),
    ("reconcile",),
    ("plan",),
    ("apply", "0123456789ab"),
    ("undo", "0123456789ab"),
    ("quality",),
    ("notify",),
    ("prune",),
    ("rebuild",),
    ("backfill", "--everything"),
    ("forget", "--customer", "1", "--yes"),
    ("explain", "install", "{install}", "--reveal", "--by", "Pat"),
]


@pytest.fixture(scope="module")
def primary() -> Iterator[OwnServer]:
    with own_folder("primary") as folder, running(OwnServer.made(folder / "pg")) as found:
        _make_migrated(found.url)
        yield found


@pytest.fixture(scope="module")
def agreed_desk(primary: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk on the primary that was polled, compared and written once."""
    templates = make_templates(primary.url, tmp_path_factory.mktemp("made"))
    ingest = next(job for job in JOBS if job.name == "ingest")
    with templates.desk(ingest, tmp_path_factory.mktemp("desk") / "d") as desk:
        run_poll(desk.context)
        run_plan(desk.context)
        yield desk


@pytest.fixture(scope="module")
def standby(primary: OwnServer, agreed_desk: Desk) -> Iterator[OwnServer]:
    with own_folder("standby") as folder, running(primary.standby(folder / "pg")) as found:
        yield found


def address(desk: Desk, hosts: str, **more: str) -> str:
    url = desk.engine.url.update_query_dict({"host": hosts, **more})
    return url.render_as_string(hide_password=False)


@pytest.fixture
def on_standby(agreed_desk: Desk, standby: OwnServer) -> Command:
    """Run the command line with the standby's address; returns the exit code and both streams."""
    return commands(agreed_desk, address(agreed_desk, str(standby.folder)))


def reached_by(context: AccountContext, url: str) -> AccountContext:
    """Return an account whose jobs connect by another address."""
    known = context.credentials
    credentials = Credentials(known.base_url, known.api_key, lambda: url)
    return AccountContext(context.account, context.config, context.config_path, credentials)


def commands(desk: Desk, url: str) -> Command:
    server = desk.context.credentials.base_url()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ENERFLO_")}
    environ |= {
        "ENERFLO_BASE_URL": server,
        "ENERFLO_API_KEY": DEFAULT_KEY,
        "WAREHOUSE_URL": url,
        "ENERFLO_SYNC_CONFIG": str(desk.context.config_path),
        **desk.environ,
    }
    install = desk.one("select min(install_id) from enerflo.installs")

    def run(*words: str) -> tuple[int, str, str]:
        given = [word.format(install=install) for word in words]
        code = "from enerflo_sync.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *given], env=environ, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_what_only_reads_works_on_a_standby(on_standby: Command, words: tuple[str, ...]) -> None:
    code, out, err = on_standby(*words)
    assert code in (0, 1), err
    assert out
    if words == ("doctor",):
        assert "a standby, which only reads" in out
        assert "✗" not in out


def test_frames_are_read_from_a_standby(agreed_desk: Desk, standby: OwnServer) -> None:
    account = reached_by(agreed_desk.context, address(agreed_desk, str(standby.folder)))
    install = str(agreed_desk.one("select min(install_id) from enerflo.installs"))
    assert len(frames.installs(account)) > 30
    assert len(frames.ledger(account)) > 0
    assert len(frames.explain(account, "install", install)) > 0
    assert len(frames.differences(account)) >= 0
    account.close()


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_what_writes_is_refused_on_a_standby_in_one_sentence(
    on_standby: Command, words: tuple[str, ...]
) -> None:
    code, out, err = on_standby(*words)
    assert (code, out) == (2, ""), (out, err)
    assert READS_ONLY in err
    assert err.count("\n") == 1


def test_a_connection_that_may_only_read_is_told_apart_from_a_standby(agreed_desk: Desk) -> None:
    options = "-c default_transaction_read_only=on"
    url = address(agreed_desk, str(agreed_desk.engine.url.query["host"]), options=options)
    run = commands(agreed_desk, url)
    code, _, err = run("poll")
    assert code == 2
    assert "the connection may only read (default_transaction_read_only)." in err
    assert err.count("\n") == 1
    for words in (("gaps",), ("explain", "install", "{install}"), ("doctor",)):
        code, out, err = run(*words)
        assert code in (0, 1), err
    assert "a connection that may only read" in out


def test_a_statement_that_writes_on_a_standby_is_told_as_such(agreed_desk: Desk, standby: OwnServer) -> None:
    engine = warehouse_engine(address(agreed_desk, str(standby.folder)))
    with (
        pytest.raises(RetriableError, match="the server only reads"),
        warehouse_errors("poll"),
        engine.begin() as one,
    ):
        one.exec_driver_sql("delete from sync.runs")
    engine.dispose()


@pytest.mark.parametrize("name", ["poll", "plan", "apply"])
def test_a_failover_in_the_middle_of_a_job_and_the_next_run_converges(tmp_path: Path, name: str) -> None:
    """The primary is lost, its standby takes its place, and the address names both."""
    job = next(job for job in JOBS if job.name == name)
    with own_folder("fail") as folder, running(OwnServer.made(folder / "a")) as first:
        _make_migrated(first.url)
        templates = make_templates(first.url, tmp_path)
        with templates.desk(job, tmp_path / "desk") as desk, running(first.standby(folder / "b")) as second:
            both = address(desk, f"{first.folder},{second.folder}", target_session_attrs="read-write")
            desk.context = reached_by(desk.context, both)
            _caught_up(first, second)

            def fails_over() -> None:
                first.stop("immediate")
                second.program("pg_ctl", "promote", "--wait", "--pgdata", str(second.data))

            with before_statement(desk.engine, 12, fails_over):
                told = told_by(job, desk)
            assert told == "" or "the connection was lost" in told or "ended the connection" in told, told
            converged(job, desk)
            # The database that is dropped in the end is on the server that is left.
            first.start()


def _caught_up(first: OwnServer, second: OwnServer) -> None:
    def position(server: OwnServer, query: str) -> Any:
        engine = sa.create_engine(server.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return connection.scalar(sa.text(query))

    end = position(first, "select pg_current_wal_lsn()")
    until = time.monotonic() + 30
    while not position(second, f"select pg_last_wal_replay_lsn() >= '{end}'::pg_lsn"):
        assert time.monotonic() < until, second.log_text()
        time.sleep(0.05)
