"""Replay of files: read again from the archive, or from what was kept."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.replay_report import ReplayOutcome
from tests.inbox.conftest import LIMITS, Inbox, ignored, update_install
from tests.inbox.replaying import (
    Again,
    first_install,
    items,
)

WHOLE = json.dumps(update_install(1)).encode()


def archived(inbox: Inbox) -> Any:
    (path,) = [path for path in inbox.archive.rglob("*") if path.is_file()]
    return path


def test_a_file_that_was_read_half_written_is_taken_in_when_it_is_whole(polled: Inbox, again: Again) -> None:
    install_id = first_install(polled)
    whole = json.dumps(update_install(install_id)).encode()
    polled.drop(whole[:-5], "half.json")
    polled.ingest()
    assert again.one() == (ReplayOutcome.STILL_FAILING, "truncated_json")
    archived(polled).write_bytes(whole)
    assert again.one() == (ReplayOutcome.REPLAYED, "1 event ingested")
    assert polled.states() == {"applied": 1}
    uri = str(archived(polled))
    assert polled.rows("select source_uri, copies from sync.webhook_events") == [(uri, 1)]
    assert items(polled) == [("file", "truncated_json", "replayed", "ann")]


def test_only_the_part_that_was_put_aside_is_taken_in(polled: Inbox, again: Again) -> None:
    lines = [json.dumps(ignored(number)) for number in range(1, 5)]
    polled.drop("\n".join([lines[0], lines[1], "{broken", lines[3]]).encode(), "some.jsonl")
    polled.ingest()
    archived(polled).write_text("\n".join(lines))
    assert again.one() == (ReplayOutcome.REPLAYED, "1 event ingested")
    assert polled.copies() == [1, 1, 1, 1]
    assert polled.rows("select source_uri from sync.webhook_events where body->>'id' = '3'") == [
        (f"{archived(polled)}#2",)
    ]


def test_a_whole_file_that_can_be_read_now_gives_all_its_events_once(polled: Inbox, again: Again) -> None:
    polled.drop(b"\xff\xfe nothing", "all.jsonl")
    polled.ingest()
    lines = [json.dumps(ignored(number)) for number in (1, 2)]
    archived(polled).write_text("\n".join([lines[0], "{broken", lines[1]]))
    (result,) = again().results
    assert (result.outcome, result.detail) == (ReplayOutcome.REPLAYED, "2 events ingested")
    assert polled.states() == {"ignored": 2}
    assert [(reason, state) for _, reason, state, _ in items(polled)][1] == ("not_json", "open")
    # Of the first line of a list: what the file gave before is not counted as a further copy.
    with polled.warehouse.begin() as connection:
        connection.execute(
            sa.text("update sync.quarantine set state = 'open' where evidence_uri not like '%#%'")
        )
    again()
    assert polled.copies() == [1, 1]
    assert polled.rows("select max(count) from sync.quarantine where reason = 'not_json'") == [(1,)]


def test_what_the_archive_no_longer_has_is_read_from_what_was_kept(polled: Inbox, again: Again) -> None:
    polled.drop(
        b"\n".join([json.dumps(ignored(1)).encode(), json.dumps(ignored(2) | {"x": "y" * 300}).encode()])
    )
    polled.ingest(limits=Limits(LIMITS.file, 200))
    archived(polled).unlink()
    outcome, detail = again.one(limits=Limits(LIMITS.file, 200))
    assert (outcome, detail) == (ReplayOutcome.STILL_FAILING, "event_too_large, from the kept payload")
    assert again.one() == (ReplayOutcome.REPLAYED, "1 event ingested, from the kept payload")
    assert polled.states() == {"ignored": 2}
    ((uri,),) = polled.rows("select source_uri from sync.webhook_events where body->>'id' = '2'")
    assert uri.endswith("#1")


def test_what_was_not_kept_whole_is_not_taken_for_the_whole(polled: Inbox, again: Again) -> None:
    polled.drop(json.dumps(ignored(1) | {"x": "y" * 100_000}).encode(), "large.json")
    polled.ingest(limits=Limits(50_000, 50_000))
    archived(polled).unlink()
    assert again.one() == (ReplayOutcome.STILL_FAILING, "not_kept_whole, from the kept payload")


def test_a_file_that_is_too_large_for_the_option_still_is(polled: Inbox, again: Again) -> None:
    polled.drop(json.dumps(ignored(1) | {"x": "y" * 2_000}).encode(), "large.json")
    small = Limits(1_000, 1_000)
    polled.ingest(limits=small)
    assert again.one(limits=small) == (ReplayOutcome.STILL_FAILING, "file_too_large")
    assert again.one() == (ReplayOutcome.REPLAYED, "1 event ingested")


def test_a_file_whose_event_is_unknown_is_done_and_the_event_is_an_item(polled: Inbox, again: Again) -> None:
    polled.drop(b"{", "half.json")
    polled.ingest()
    archived(polled).write_text('{"webhook_event": "brand_new"}')
    assert again.one() == (ReplayOutcome.REPLAYED, "1 event ingested")
    assert [(kind, state) for kind, _, state, _ in items(polled)] == [("file", "replayed"), ("event", "open")]


def test_a_replay_leaves_the_lists_of_files_that_are_still_to_be_moved(polled: Inbox, again: Again) -> None:
    polled.drop(b"{", "half.json")
    polled.ingest()
    with polled.warehouse.begin() as connection:
        values = "'default', 'kept', now(), '{\"/drop/a.json\": [\"digest\", \"/archive/a.json\"]}'"
        connection.execute(sa.text(f"insert into sync.webhook_moves values ({values})".replace(":", r"\:")))
    archived(polled).write_text(json.dumps(ignored(1)))
    again()
    assert polled.rows("select move_id from sync.webhook_moves") == [("kept",)]
