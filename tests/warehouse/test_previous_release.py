"""The release before runs its jobs while the migrations of the next one are applied, and after them.

``UPGRADES=all`` (``make upgrade``) goes back through the migrations of the last releases; without it the newest step is
taken alone.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.warehouse.migrate import FIRST_TO_ASK
from enerflo_sync.warehouse.revision import LATEST_REVISION
from tests.conftest import fresh_database
from tests.previous_release import Program, Step, ended, program_of, steps, why_no_history

# How many steps are looked at, whole.
MOST = 6
JOBS = ("poll", "reconcile", "plan")
# Tables that a job writes in its middle.
HELD = {"poll": "sync.runs", "reconcile": "sync.reconciliations", "plan": "sync.plan_changes"}
NOT_CHECKED = why_no_history()


def looked_at() -> list[Step]:
    """Return the newest step, or the newest of those whose migrations say what older programs may do."""
    if NOT_CHECKED:
        return []
    declared = itertools.takewhile(lambda step: int(step.revisions[0]) > int(FIRST_TO_ASK), steps())
    return list(itertools.islice(declared, MOST if os.environ.get("UPGRADES") else 1))


FOUND = looked_at()


@dataclass
class Release:
    """A step, the program before it and the one with it, and a warehouse that the program before has filled."""

    step: Step
    old: Program
    new: Program
    filled: str
    copy: Callable[[str], str]

    def on(self, url: str) -> tuple[Program, Program]:
        """Return both programs on a database."""
        both = []
        for program in (self.old, self.new):
            environ = {**program.environ, "WAREHOUSE_URL": url}
            both.append(Program(program.tree, environ))
        return both[0], both[1]


@pytest.fixture(scope="module", params=FOUND, ids=lambda step: step.name)
def release(
    request: pytest.FixtureRequest, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    step: Step = request.param
    folder = tmp_path_factory.mktemp("release")
    old, new = (
        program_of(commit, folder / name) for name, commit in (("old", step.before), ("new", step.after))
    )
    company = SandboxApi(World(60, 7, clock=SystemClock(), per_cause=1), rate_limit=10_000)
    with SandboxServer(company) as server, ExitStack() as stack:
        drop = folder / "drop"
        drop.mkdir()
        for program in (old, new):
            # Each release is configured with its own file.
            config = folder / f"{program.tree.name}.yaml"
            text = (program.tree / "include/config/sync.yaml").read_text()
            config.write_text(text.replace("mode: report", "mode: crm"))
            program.environ = {
                "ENERFLO_BASE_URL": server.url,
                "ENERFLO_API_KEY": DEFAULT_KEY,
                "ENERFLO_SYNC_CONFIG": str(config),
                "WEBHOOK_DROP_URI": str(drop),
            }

        def copy(template: str) -> str:
            return stack.enter_context(fresh_database(postgres_url, template))

        filled = copy("template0")
        found = Release(step, old, new, str(sa.make_url(filled).database), copy)
        before, _ = found.on(filled)
        assert before.run("migrate").code == 0
        make_crm_tables(server.api.world, filled)
        for job in JOBS:
            done = before.run(job)
            assert done.code in (0, 1), done.told
        yield found


_WAITING = sa.text("""
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and wait_event_type = 'Lock'
""")


@contextmanager
def held(url: str, table: str) -> Iterator[Callable[..., None]]:
    """Hold a table, so that a job waits in the middle; yields what waits until sessions wait for it."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    watch = engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, watch.connect() as watching:
        connection.exec_driver_sql(f"lock table {table} in share mode")

        def wait(number: int, *processes: subprocess.Popen[str]) -> None:
            until = time.monotonic() + 30
            while watching.scalar(_WAITING) < number and all(one.poll() is None for one in processes):
                assert time.monotonic() < until
                time.sleep(0.02)

        yield wait


def refusal(step: Step, told: str) -> bool:
    """Whether a refusal is what the migrations declare, in one sentence."""
    may = {"read": "may only read its tables", "nothing": "may not use its tables any more"}
    words = (
        may.get(step.may, "") if step.asks else f"the warehouse is at schema revision {step.revisions[-1]}"
    )
    return bool(words) and words in told and told.count("\n") == 1


@pytest.mark.skipif(
    bool(NOT_CHECKED), reason=f"NOT CHECKED: the release before each migration ({NOT_CHECKED})"
)
def test_the_newest_step_is_the_newest_migration() -> None:
    assert FOUND[0].revisions[-1] == LATEST_REVISION
    assert FOUND[0].asks


@pytest.mark.parametrize("job", JOBS)
def test_a_job_of_the_release_before_ends_well_while_the_migration_runs(release: Release, job: str) -> None:
    """The job has begun its work when the migration comes, and ends after it, or lets it wait."""
    url = release.copy(release.filled)
    old, new = release.on(url)
    with held(url, HELD[job]) as wait:
        running = old.begin(job)
        wait(1, running)
        assert running.poll() is None, ended(running).told
        migrating = new.begin("migrate")
        wait(2, migrating)
    migrated, done = ended(migrating), ended(running)
    assert migrated.code == 0, migrated.told
    # A later part of the job that looks at the revision anew may be refused; nothing else may go wrong.
    assert done.code in (0, 1) or refusal(release.step, done.told), done.told


def test_after_the_migration_the_release_before_does_what_the_migration_declares(release: Release) -> None:
    step, url = release.step, release.copy(release.filled)
    old, new = release.on(url)
    assert new.run("migrate").code == 0
    for job in JOBS:
        done = old.run(job)
        if step.may == "write" and step.asks:
            assert done.code in (0, 1), done.told
            assert f"older_program the warehouse is at schema revision {step.revisions[-1]}" in done.told
        else:
            assert done.code == 2
            assert refusal(step, done.told), done.told
    read = old.run("gaps")
    if step.asks and step.may != "nothing":
        assert read.code in (0, 1), read.told
    else:
        assert refusal(step, read.told), read.told
    # What both of them wrote is one warehouse: the new release goes on with it.
    for job in JOBS:
        done = new.run(job)
        assert done.code in (0, 1), done.told
        assert not re.search("older_program|Please report", done.told), done.told


def test_the_release_before_started_again_leaves_the_tables_as_they_are(release: Release) -> None:
    step, url = release.step, release.copy(release.filled)
    old, new = release.on(url)
    assert new.run("migrate").code == 0
    again = old.run("migrate")
    if step.asks:
        assert again.code == (0 if step.may == "write" else 2), again.told
    assert new.run("migrate").code == 0
