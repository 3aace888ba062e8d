"""``enerflo-sync prune`` on a mirror that was polled and told by webhooks: what goes, and what stays."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.inbox.quarantine_items import Selection
from enerflo_sync.retention.prune import JOB
from enerflo_sync.warehouse.alone import alone
from tests.inbox.conftest import Inbox, ignored, update_install
from tests.inbox.replaying import Again
from tests.rebuild.conftest import SEEN, TABLES, run_rebuild, snapshot
from tests.rebuild.conftest import counts as differing
from tests.retention.conftest import LATER, configured, counts, kind, pruned

_MIRROR = tuple(table.name for table in TABLES if not table.name.endswith("_versions"))


def mirror(company: Inbox) -> dict[str, Any]:
    return {name: rows for name, rows in snapshot(company).items() if name in _MIRROR}


def versions(company: Inbox) -> dict[int, int]:
    rows = company.rows("select install_id, count(*)::int from enerflo.install_versions group by 1")
    return {int(install): int(count) for install, count in rows}


def test_what_is_too_old_goes_and_a_second_prune_deletes_nothing(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    before, events = mirror(lived), lived.one("select count(*) from sync.webhook_events")
    had = versions(lived)
    looked = pruned(lived, dry=True)
    assert lived.one("select count(*) from sync.prunings") == 0
    assert versions(lived) == had
    first = pruned(lived)
    assert counts(first) == counts(looked)
    assert [(one.size, one.oldest) for one in first.kinds] == [(one.size, one.oldest) for one in looked.kinds]
    assert {"versions", "webhook_bodies", "archive", "runs"} <= counts(first).keys()
    assert counts(pruned(lived, dry=True)) == {}
    assert counts(pruned(lived)) == {}
    assert mirror(lived) == before
    assert lived.one("select count(*) from sync.webhook_events") == events
    assert sum(had.values()) - sum(versions(lived).values()) == kind(first, "versions").rows > 0
    assert min(versions(lived).values()) >= 1
    told = dict(lived.rows("select kind, rows from sync.prunings"))
    assert told == counts(first)


def test_a_rebuild_after_a_prune_gives_the_same_mirror(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    before = mirror(lived)
    assert counts(pruned(lived))["versions"] > 0
    assert differing(run_rebuild(lived)) == {}
    assert mirror(lived) == before
    with lived.warehouse.begin() as connection:
        connection.execute(sa.text("update enerflo.installs set panel_count = 1, customer_name = 'x'"))
        connection.execute(sa.text("delete from enerflo.submissions"))
        connection.execute(sa.text("delete from enerflo.milestones"))
    run_rebuild(lived)
    gone = {name: rows for name, rows in snapshot(lived, leave_out=SEEN).items() if name in _MIRROR}
    live = mirror_without_time(before, lived)
    assert gone["installs"] == live["installs"]
    assert gone["submissions"] == live["submissions"]


def mirror_without_time(rows: dict[str, Any], company: Inbox) -> dict[str, Any]:
    """Take the columns of when and how a row was seen out of a snapshot."""
    found = {}
    for table in TABLES:
        if table.name in rows:
            kept = [at for at, column in enumerate(table.columns) if column.name not in SEEN]
            found[table.name] = {tuple(row[at] for at in kept) for row in rows[table.name]}
    return found


@pytest.mark.parametrize("after", [1, 3])
def test_a_prune_that_is_killed_goes_on_where_it_was(
    lived: Inbox, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived.clock.advance(LATER.total_seconds())
    monkeypatch.setattr("enerflo_sync.retention.versions.RECORDS", 3)
    monkeypatch.setattr("enerflo_sync.retention.bodies.EVENTS", 5)
    whole = pruned(lived, dry=True)
    ticks = 0

    def killed(*_: Any) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned(lived, progress=killed)
    before = mirror(lived)
    rest = pruned(lived)
    assert 0 < rest.rows < whole.rows
    done = lived.one("select sum(rows)::int from sync.prunings where kind in ('versions', 'webhook_bodies')")
    assert done == kind(whole, "versions").rows + kind(whole, "webhook_bodies").rows
    assert counts(pruned(lived)) == {}
    assert mirror(lived) == before


def test_only_one_prunes_an_account(lived: Inbox) -> None:
    with (
        lived.warehouse.connect() as other,
        alone(other, lived.account, JOB),
        pytest.raises(RetriableError, match="another prune is running"),
    ):
        pruned(lived)


def test_a_record_that_is_written_at_the_moment_is_left_to_the_next_run(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    expected = kind(pruned(lived, dry=True), "versions").rows
    held = max(versions(lived).items(), key=lambda one: one[1])[0]
    with lived.warehouse.begin() as other:
        other.execute(sa.text("select from enerflo.installs where install_id = :id for update"), {"id": held})
        before = versions(lived)[held]
        first = kind(pruned(lived), "versions").rows
        assert first < expected
        assert versions(lived)[held] == before
    assert first + kind(pruned(lived), "versions").rows == expected


def test_the_bodies_that_the_mirror_stands_on_stay(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    pruned(lived)
    designs = """select count(*) from enerflo.submissions s where not exists (
        select from sync.webhook_events e where e.deal_id = s.deal_id and e.event = s.event
          and e.source_uri = s.evidence and e.body is not null)"""
    assert lived.one("select count(*) from enerflo.submissions") > 0
    assert lived.one(designs) == 0
    emptied = lived.rows(
        "select body is null, pruned_at is not null, count(*) from sync.webhook_events group by 1, 2"
    )
    assert {(empty, told) for empty, told, _ in emptied} == {(True, True), (False, False)}


def test_a_copy_of_an_event_whose_body_was_pruned_brings_it_back_and_counts_once(inbox: Inbox) -> None:
    inbox.company.poll()
    install = min(row.install_id for row in inbox.world.truth.installs())
    inbox.drop(update_install(install, note="a \\ b\tc"), "one.json")
    inbox.ingest()
    inbox.clock.advance(LATER.total_seconds())
    assert counts(pruned(inbox))["webhook_bodies"] == 1
    assert inbox.rows("select body is null, state from sync.webhook_events") == [(True, "applied")]
    inbox.drop(update_install(install, note="a \\ b\tc"), "two.json")
    report = inbox.ingest()
    assert report.state == "ok"
    ((body, copies, state, at),) = inbox.rows(
        "select body ->> 'note', copies, state, pruned_at from sync.webhook_events"
    )
    assert (body, copies, state, at) == ("a \\ b\tc", 2, "applied", None)


def test_what_an_open_item_needs_stays_and_can_be_replayed(inbox: Inbox) -> None:
    inbox.company.poll()
    install = min(row.install_id for row in inbox.world.truth.installs())
    broken = b'{"webhook_event": "update_install", "id": ' + b"x" * 70_000
    inbox.drop(broken, "broken.json")
    inbox.drop(update_install(install), "fine.json")
    inbox.drop({"webhook_event": "nobody_knows_it", "id": 7}, "unknown.json")
    inbox.ingest()
    assert inbox.one("select count(*) from sync.quarantine where state = 'open'") == 2
    inbox.clock.advance(LATER.total_seconds())
    report = pruned(inbox)
    assert counts(report) == {"archive": 1, "webhook_bodies": 1} | {"runs": counts(report).get("runs", 0)}
    assert inbox.archived() == ["broken.json", "unknown.json"]
    again = Again(inbox)
    outcomes = {result.outcome for result in again(dry=True).results}
    assert "not_replayable" not in outcomes
    assert inbox.one("select count(*) from sync.webhook_events where body is not null") == 1


def test_a_replay_says_what_was_pruned(inbox: Inbox) -> None:
    inbox.company.poll()
    inbox.drop({"webhook_event": "nobody_knows_it", "id": 7}, "unknown.json")
    inbox.ingest()
    item = inbox.one("select item_id from sync.quarantine")
    with inbox.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set state = 'dismissed'"))
    inbox.clock.advance(LATER.total_seconds())
    pruned(inbox)
    outcome, detail = Again(inbox).one(Selection(items=(item,)), dry=True)
    assert outcome == "not_replayable"
    assert detail.startswith("its event's body was pruned at ")
    assert detail.endswith("by retention.webhook_bodies_days: 180")


def test_nothing_goes_before_its_time(lived: Inbox) -> None:
    lived.clock.advance(80 * 86_400)
    assert counts(pruned(lived)) == {}


def test_what_is_kept_for_ever_stays(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    edits = [
        ("  archive_days: 300\n", ""),
        ("versions_days: 365", "versions_days: null"),
        ("webhook_bodies_days: 180", "webhook_bodies_days: null"),
    ]
    report = pruned(lived, config=configured(lived.folder.parent, *edits))
    assert not {"versions", "webhook_bodies", "archive"} & counts(report).keys()
    assert kind(report, "versions").before is None


def test_the_first_and_the_newest_runs_of_a_job_stay(lived: Inbox) -> None:
    lived.clock.advance(LATER.total_seconds())
    ends = """select job, min(started_at), max(started_at) from sync.runs where job <> 'prune' group by 1 order by 1"""
    before = lived.rows(ends)
    assert counts(pruned(lived))["runs"] > 0
    assert lived.rows(ends) == before


def test_an_event_that_waits_keeps_its_body(inbox: Inbox) -> None:
    inbox.drop(ignored(1), "ignored.json")
    inbox.drop(update_install(4_711), "waits.json")
    inbox.load()
    inbox.clock.advance(LATER.total_seconds())
    pruned(inbox)
    assert inbox.rows("select state, body is null from sync.webhook_events order by 1") == [
        ("ignored", True),
        ("received", False),
    ]
