"""A DuckDB file is one process's at a time: jobs of several processes take turns."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.copies import database
from enerflo_sync.copies.database import CrmConnections, crm_engine
from enerflo_sync.errors import ConfigurationError, RetriableError

HOLDING = """
import duckdb, sys
there = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
there.close()
"""


@contextmanager
def held(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process have the file open until it is told to end."""
    command = [sys.executable, "-c", HOLDING, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder
        holder.communicate("\n")
        assert holder.returncode == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "shop.duckdb"
    crm_engine(f"duckdb:///{made}").connect().close()
    return made


@pytest.fixture
def crm(file: Path) -> Iterator[CrmConnections]:
    found = CrmConnections(lambda: crm_engine(f"duckdb:///{file}"))
    yield found
    found.close()


def test_a_file_that_another_process_has_open_is_waited_for_and_let_go_of_afterwards(
    crm: CrmConnections, file: Path
) -> None:
    with held(file) as holder:
        assert holder.stdin is not None
        # The driver is loaded before: that takes longer than the other process holds the file.
        assert crm.dialect.is_file
        ends = threading.Timer(0.5, lambda: (holder.stdin.write("\n"), holder.stdin.flush()))
        ends.start()
        with crm.connected("looking") as there:
            assert there.scalar(sa.text("select 1")) == 1
        ends.join()
    with held(file):
        pass


def test_a_file_that_stays_open_elsewhere_is_tried_again_later(
    crm: CrmConnections, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_FILE_SECONDS", 0.2)
    with (
        held(file),
        pytest.raises(RetriableError, match=r"could not be opened or read while looking.*no other process"),
        crm.connected("looking"),
    ):
        pass


def test_a_file_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "shpo.duckdb"
    crm = CrmConnections(lambda: crm_engine(f"duckdb:///{missing}"), "sync.yaml:9: accounts.default.crm")
    with (
        pytest.raises(ConfigurationError, match=rf"^sync\.yaml:9: .*there is no file {missing}"),
        crm.connected("looking"),
    ):
        pass
    assert not missing.exists()


def test_a_file_is_opened_once_for_several_connections_and_then_let_go_of(
    crm: CrmConnections, file: Path
) -> None:
    command = [sys.executable, "-c", HOLDING, str(file)]
    with crm.kept_open():
        with crm.connected("looking"):
            pass
        other = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
        assert "Could not set lock" in other.stderr
    with held(file):
        pass
