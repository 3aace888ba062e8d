"""A rebuild that is killed, and one beside polls, ingests and other rebuilds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.rebuild import from_versions
from enerflo_sync.rebuild import rebuild as rebuild_job
from enerflo_sync.rebuild.from_versions import StoredVersions
from enerflo_sync.rebuild.source import Chunk, Portion
from enerflo_sync.warehouse.alone import alone
from tests.inbox.conftest import Inbox
from tests.rebuild.conftest import SEEN, counts, damage, run_rebuild, snapshot

KILLED = """
    import os, random, signal, sys

    import sqlalchemy as sa

    from enerflo_sync.clock import SystemClock
    from enerflo_sync.rebuild import from_versions
    from enerflo_sync.rebuild.rebuild import rebuild
    from enerflo_sync.warehouse.engine import warehouse_engine

    url, chunks, after_commit = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "commit"
    from_versions.CHUNK = 5
    engine = warehouse_engine(url)
    done = 0

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(name, *_):
        global done
        done += 1
        if done == chunks:
            # The next commit is that of the chunk after this one.
            kill() if after_commit else sa.event.listen(engine, "commit", kill)

    rebuild(engine, "default", clock=SystemClock(), rng=random.Random(), write=True, progress=progress)
"""


@pytest.mark.parametrize("moment", ["commit", "before"])
@pytest.mark.parametrize("chunks", [1, 4])
def test_a_rebuild_killed_anywhere_is_completed_by_the_next(lived: Inbox, chunks: int, moment: str) -> None:
    before = snapshot(lived, SEEN)
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense'")
    damage(lived, "update enerflo.milestones set title = 'Nonsense'")
    damage(lived, "delete from enerflo.installs where install_id % 3 = 0 and deleted_at is null")
    damage(lived, "delete from enerflo.submissions")
    code = textwrap.dedent(KILLED)
    address = lived.warehouse.url.render_as_string(hide_password=False)
    killed = subprocess.run(
        [sys.executable, "-c", code, address, str(chunks), moment],
        check=False,
        timeout=60,
        env={**os.environ},
    )
    assert killed.returncode == -signal.SIGKILL
    assert snapshot(lived, SEEN) != before
    assert lived.one("select state from sync.runs where job = 'rebuild'") == "failed"
    left = lived.one("select count(*) from enerflo.installs where agent_name = 'Nonsense'")
    assert 0 < left < lived.one("select count(*) from enerflo.installs")
    run_rebuild(lived)
    assert snapshot(lived, SEEN) == before
    assert counts(run_rebuild(lived)) == {}


def test_a_second_rebuild_is_refused_while_one_is_running(lived: Inbox) -> None:
    with lived.warehouse.connect() as other, alone(other, "default", "rebuild"):
        with pytest.raises(RetriableError, match="another rebuild is running"):
            run_rebuild(lived)
        # To look is free.
        assert counts(run_rebuild(lived, write=False)) == {}
    assert counts(run_rebuild(lived)) == {}


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Any, *, seen: bool = True) -> list[int]:
    """Let ``what`` happen once, within a chunk's transaction; return the beginnings of all chunks.

    :param seen: after the chunk has begun to look at the mirror, or before, when versions were read ahead.
    """
    begun: list[int] = []
    work = StoredVersions.work

    def overtaken(self: StoredVersions, portion: Portion, *, refuse: bool = False) -> Chunk:
        begun.append(portion.keys[0])
        if len(begun) == 1:
            if seen:
                # From here on the chunk sees the mirror as it is now.
                self._connection.exec_driver_sql("select 1 from enerflo.installs limit 1").all()
            what()
        return work(self, portion, refuse=refuse)

    monkeypatch.setattr(StoredVersions, "work", overtaken)
    return begun


@pytest.mark.parametrize("column", ["agent_name", "status_name"])
def test_what_a_poll_stores_meanwhile_is_not_overwritten(
    lived: Inbox, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    one = lived.one("select min(install_id) from enerflo.installs where deleted_at is null")
    damage(lived, f"update enerflo.installs set {column} = 'Nonsense' where install_id = :i", i=one)

    def poll() -> None:
        lived.world.set_status(one, 4)
        lived.company.poll()

    begun = meanwhile(monkeypatch, poll)
    run_rebuild(lived)
    assert len(begun) == 2, "the chunk was begun again"
    lived.company.assert_mirror_is_true()


def test_a_version_that_was_read_ahead_does_not_count_once_the_install_stands_on_another(
    lived: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lived.one("select min(install_id) from enerflo.installs where deleted_at is null")

    def poll() -> None:
        lived.world.set_status(one, 4)
        lived.company.poll()

    assert meanwhile(monkeypatch, poll, seen=False) == []
    assert counts(run_rebuild(lived)) == {}
    lived.company.assert_mirror_is_true()


def test_milestones_that_a_poll_stores_meanwhile_are_not_overwritten(
    lived: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The milestone row itself is not written by that poll: it says by chance what was damaged."""
    one, milestone = lived.rows(
        "select m.install_id, m.milestone_id from enerflo.milestones m join enerflo.installs i using (account, install_id)"
        " where i.deleted_at is null and m.completed_at is not null order by 1, 2 limit 1"
    )[0]
    damage(
        lived,
        "update enerflo.milestones set completed_at = null where install_id = :i and milestone_id = :m",
        i=one,
        m=milestone,
    )

    def poll() -> None:
        lived.world.set_milestone(one, milestone, {"completed": None})
        lived.company.poll()

    begun = meanwhile(monkeypatch, poll)
    run_rebuild(lived)
    assert len(begun) == 2
    lived.company.assert_mirror_is_true()


def test_a_poll_that_asked_before_the_rebuild_and_stores_after_it_loses_nothing_for_good(
    lived: Inbox,
) -> None:
    """Its answer is older than the rebuild's rows: the next poll brings what it says."""
    one = lived.one("select min(install_id) from enerflo.installs where deleted_at is null")
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense' where install_id = :i", i=one)
    lived.world.set_status(one, 4)
    done = []

    def rebuilt(request: Any, world: Any) -> None:
        # While the list of installs is on its way.
        if request.path == "/api/v3/installs" and not done:
            done.append(True)
            lived.clock.advance(1)
            run_rebuild(lived)

    lived.api.before_request = rebuilt
    lived.company.poll()
    lived.company.poll()
    assert done
    lived.company.assert_mirror_is_true()


def test_rows_that_somebody_keeps_locked_are_waited_for_and_then_given_up(
    lived: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_job, "_ATTEMPTS", 2)
    one = lived.one("select min(install_id) from enerflo.installs where deleted_at is null")
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense' where install_id = :i", i=one)
    with lived.warehouse.begin() as other:
        other.execute(sa.text("select from enerflo.installs where install_id = :i for update"), {"i": one})
        with pytest.raises(RetriableError, match="somebody else keeps writing"):
            run_rebuild(lived)
    assert lived.rows("select state, finished_at is not null from sync.runs where job = 'rebuild'") == [
        ("failed", True)
    ]
    assert counts(run_rebuild(lived)) == {"installs": (0, 1, 0)}


def test_what_was_written_before_a_failure_stays(lived: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_versions, "CHUNK", 5)
    damage(lived, "update enerflo.installs set agent_name = 'Nonsense'")
    total = lived.one("select count(*) from enerflo.installs")

    def stop(name: str, done: int, of: int | None) -> None:
        assert (name, of) == ("installs", total)
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_rebuild(lived, progress=stop)
    assert lived.one("select count(*) from enerflo.installs where agent_name = 'Nonsense'") == total - 10
    assert run_rebuild(lived).differing == total - 10
