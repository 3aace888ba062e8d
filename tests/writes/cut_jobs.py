"""Jobs that lose the warehouse in the middle: each has enough to do, and is run again until both sides agree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.conftest import copy_database
from tests.writes.conftest import Desk, company, desk_on, make_polled
from tests.writes.sending import note


@dataclass(frozen=True)
class CutJob:
    """A job that is cut, and what it finds.

    :param template: the database that it begins with: unpolled, polled or agreed.
    """

    name: str
    template: str
    prepare: Callable[[Desk], None]
    run: Callable[[Desk], Any]


def _nothing(_: Desk) -> None:
    pass


def _events(desk: Desk) -> None:
    drop = Path(desk.environ["WEBHOOK_DROP_URI"])
    for number in desk.world.installs.live():
        body = {"webhook_event": "update_install", "id": desk.world.installs.get(number).install_id}
        (drop / f"{number:03}.json").write_text(json.dumps(body))


def _changes(desk: Desk) -> None:
    """Let the CRM say other values, some of which go to Enerflo, and plan."""
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    sites = [desk.world.installs.get(number) for number in desk.world.installs.live()]
    ids = [site.install_id for site in sites if site.status_id == c.IN_PROGRESS][:3]
    for install_id in ids:
        desk.sql(
            "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
            i=install_id,
        )
        note(desk, f"N{install_id}", install_id, "Call first, then come")
    desk.sql("update crm.installs set panel_count = panel_count + 1, updated_at = now()")
    assert desk.plan().change_count > 10


def _apply(desk: Desk) -> Any:
    # Ended plans too: the same command again completes an apply, or says that it was applied.
    plan_hash = desk.one(
        "select plan_hash from sync.plans where change_count > 0 order by created_at desc limit 1"
    )
    return run_apply(desk.context, plan_hash, approved_by="Pat")


JOBS = (
    CutJob("poll", "unpolled", _nothing, lambda desk: run_poll(desk.context)),
    CutJob("ingest", "agreed", _events, lambda desk: run_ingest(desk.context)),
    CutJob("plan", "polled", lambda desk: desk.switched_on("both"), lambda desk: run_plan(desk.context)),
    CutJob("apply", "agreed", _changes, _apply),
)


@dataclass
class Templates:
    """The databases that jobs begin with, on a server."""

    url: str
    names: dict[str, str]

    @contextmanager
    def desk(self, job: CutJob, folder: Path) -> Iterator[Desk]:
        """Yield a desk on which a job finds what it needs."""
        folder.mkdir(exist_ok=True)
        with desk_on(self.url, self.names[job.template], folder) as desk:
            desk.switched_on("both")
            job.prepare(desk)
            yield desk


def make_templates(url: str, folder: Path) -> Templates:
    """Make the databases that jobs begin with: without Enerflo's records, with them, and agreed upon."""
    names = {"polled": make_polled(url)}
    names["unpolled"] = f"unpolled_{os.getpid()}"
    make_crm_tables(company(), copy_database(url, names["unpolled"], "migrated"))
    with desk_on(url, names["polled"], folder) as desk:
        desk.switched_on("both")
        desk.carried()
        desk.engine.dispose()
        names["agreed"] = f"cut_agreed_{os.getpid()}"
        copy_database(url, names["agreed"], str(desk.engine.url.database))
    return Templates(url, names)


def told_by(job: CutJob, desk: Desk) -> str:
    """Run a job; return the sentence with which it failed, nothing where it ended."""
    try:
        job.run(desk)
    except EnerfloSyncError as error:
        told = str(error)
    else:
        told = ""
    assert "\n" not in told
    return told


@contextmanager
def before_statement(engine: sa.Engine, number: int, act: Callable[[], None]) -> Iterator[list[int]]:
    """Act once, before a job's n-th statement; yields how many there were."""
    counted = [0]

    def look(*_: Any) -> None:
        counted[0] += 1
        if counted[0] == number:
            act()

    sa.event.listen(engine, "before_cursor_execute", look)
    try:
        yield counted
    finally:
        sa.event.remove(engine, "before_cursor_execute", look)


def sent(desk: Desk) -> list[tuple[str, str]]:
    """What Enerflo was sent, whatever its order."""
    return sorted((one.method, one.path) for one in desk.world.received)


def converged(job: CutJob, desk: Desk) -> list[tuple[str, str]]:
    """Run a job once more and the rounds that follow; return what Enerflo was sent when both sides agree."""
    assert told_by(job, desk) == ""
    assert not list(Path(desk.environ["WEBHOOK_DROP_URI"]).glob("*.json"))
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()
    run_seal(desk.context)
    desk.settled()
    assert desk.one("select count(*) from enerflo.installs") == len(list(desk.world.installs.live()))
    assert desk.one("select count(*) from sync.runs where state = 'running'") == 0
    return sent(desk)
