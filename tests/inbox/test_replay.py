"""Replay: what stands in quarantine is tried again by the usual paths, and closed only when it is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions
from enerflo_sync.inbox.quarantine_items import Selection
from enerflo_sync.inbox.replay import replay
from enerflo_sync.inbox.replay_report import Outcome, ReplayReport
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.change_orders import change_orders_resource
from enerflo_sync.mirror.customers import CUSTOMERS
from enerflo_sync.mirror.installs import INSTALLS
from enerflo_sync.mirror.intake import Intake, Observation
from enerflo_sync.mirror.notes import NOTES
from enerflo_sync.mirror.resource import Resource
from enerflo_sync.sandbox.bad_records import BadKind
from tests.inbox.conftest import LIMITS, Inbox, ignored, update_install

ALL = Selection(everything=True)


@dataclass
class Again:
    """Replays of one inbox."""

    inbox: Inbox

    def __call__(self, selection: Selection = ALL, *, dry: bool = False, **more: Any) -> ReplayReport:
        inbox, calls = self.inbox, CallCounter()
        hydration = HydrateOptions(**{name: more.pop(name) for name in ("not_found_for",) if name in more})
        options = IngestOptions(limits=more.pop("limits", LIMITS), hydration=hydration)
        return replay(
            lambda: inbox.company.client(calls, inbox.key),
            inbox.warehouse,
            lambda: inbox.place,
            inbox.account,
            selection,
            dry=dry,
            by="ann",
            clock=inbox.clock,
            rng=inbox.company.rng,
            calls=calls,
            options=options,
            **more,
        )

    def one(self, selection: Selection = ALL, **more: Any) -> tuple[str, str]:
        """What became of the only item."""
        (result,) = self(selection, **more).results
        return str(result.outcome), result.detail


@pytest.fixture
def again(polled: Inbox) -> Again:
    return Again(polled)


def everything(inbox: Inbox) -> list[Any]:
    """All rows that a replay may touch."""
    tables = "quarantine webhook_events webhook_moves runs api_calls".split()
    found = [inbox.rows(f"select t::text from sync.{name} t order by 1") for name in tables]
    return [*found, inbox.rows("select t::text from enerflo.installs t order by 1")]


def items(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.rows(
        "select kind, reason, state, decided_by from sync.quarantine order by first_seen_at, reason"
    )


def first_install(inbox: Inbox) -> int:
    return min(row.install_id for row in inbox.world.truth.installs())


def put_aside(inbox: Inbox, resource: Resource, record: dict[str, Any], by: str = "poll:x") -> None:
    """Let a record arrive that cannot be used."""
    observation = Observation("default", inbox.clock.now(), "poll", by)
    with inbox.warehouse.begin() as connection:
        tally = Intake(resource).take(connection, [msgspec.json.encode(record)], observation).tally
    assert tally.quarantined == 1
    inbox.clock.advance(60)


def not_found_now(inbox: Inbox, install_id: int) -> None:
    """Drop an event whose install Enerflo does not know, late enough to be put aside."""
    inbox.drop(update_install(install_id))
    inbox.later(120)
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1}


def next_install(inbox: Inbox) -> int:
    return max(row.install_id for row in inbox.world.truth.installs()) + 1


# Events


def test_an_event_that_is_declared_since_is_ignored_and_its_item_closed(polled: Inbox, again: Again) -> None:
    polled.drop({"webhook_event": "brand_new", "id": 1})
    polled.ingest()
    assert again.one() == (Outcome.STILL_FAILING, "unknown_event at brand_new")
    declared = Limits(LIMITS.file, LIMITS.event, frozenset({"brand_new"}))
    assert again.one(limits=declared) == (Outcome.REPLAYED, "known and ignored now")
    assert polled.states() == {"ignored": 1}
    assert items(polled) == [("event", "unknown_event at brand_new", "replayed", "ann")]


def test_an_event_whose_record_is_there_now_is_applied(polled: Inbox, again: Again) -> None:
    install_id = next_install(polled)
    not_found_now(polled, install_id)
    while polled.world.create_install() != install_id:
        pass
    assert again.one() == (Outcome.REPLAYED, "applied")
    assert polled.states() == {"applied": 1}
    assert polled.install(install_id, "observed_by") == ("webhook",)
    assert items(polled) == [("event", "not_found at installs", "replayed", "ann")]


def test_an_event_whose_record_is_still_not_there_says_so(polled: Inbox, again: Again) -> None:
    not_found_now(polled, next_install(polled))
    assert again.one() == (Outcome.NOT_FOUND, "not_found")
    assert polled.states() == {"quarantined": 1}
    assert items(polled) == [("event", "not_found at installs", "open", None)]


def test_an_event_that_fails_for_another_reason_stands_under_that_alone(polled: Inbox, again: Again) -> None:
    install_id = next_install(polled)
    not_found_now(polled, install_id)
    polled.fault(f"success_false@/api/v3/installs/{install_id}#1")
    outcome, detail = again.one()
    assert (outcome, "VendorRefusedError" in detail) == (Outcome.STILL_FAILING, True)
    assert [(reason, state) for _, reason, state, _ in items(polled)] == [
        ("not_found at installs", "replayed"),
        ("not_readable: VendorRefusedError at installs", "open"),
    ]


def test_an_event_waits_while_enerflo_does_not_answer_and_the_next_ingest_closes_its_item(
    polled: Inbox, again: Again
) -> None:
    install_id = next_install(polled)
    not_found_now(polled, install_id)
    while polled.world.create_install() != install_id:
        pass
    polled.fault(f"503@/api/v3/installs/{install_id}#1-99")
    outcome, detail = again.one()
    assert (outcome, "the next ingest" in detail) == (Outcome.WAITING, True)
    assert polled.states() == {"received": 1}
    assert [state for _, _, state, _ in items(polled)] == ["open"]
    polled.fault()
    polled.later()
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert [state for _, _, state, _ in items(polled)] == ["replayed"]


def test_a_key_that_is_refused_ends_the_replay_and_closes_nothing(polled: Inbox, again: Again) -> None:
    not_found_now(polled, next_install(polled))
    polled.key = "wrong"
    with pytest.raises(AuthenticationError):
        again()
    assert [state for _, _, state, _ in items(polled)] == ["open"]
    assert polled.rows("select state from sync.runs where job = 'replay'") == [("failed",)]


# Files

WHOLE = json.dumps(update_install(1)).encode()


def archived(inbox: Inbox) -> Any:
    (path,) = [path for path in inbox.archive.rglob("*") if path.is_file()]
    return path


def test_a_file_that_was_read_half_written_is_taken_in_when_it_is_whole(polled: Inbox, again: Again) -> None:
    install_id = first_install(polled)
    whole = json.dumps(update_install(install_id)).encode()
    polled.drop(whole[:-5], "half.json")
    polled.ingest()
    assert again.one() == (Outcome.STILL_FAILING, "truncated_json")
    archived(polled).write_bytes(whole)
    assert again.one() == (Outcome.REPLAYED, "1 event taken in")
    assert polled.states() == {"applied": 1}
    uri = str(archived(polled))
    assert polled.rows("select source_uri, copies from sync.webhook_events") == [(uri, 1)]
    assert items(polled) == [("file", "truncated_json", "replayed", "ann")]


def test_only_the_part_that_was_put_aside_is_taken_in(polled: Inbox, again: Again) -> None:
    lines = [json.dumps(ignored(number)) for number in range(1, 5)]
    polled.drop("\n".join([lines[0], lines[1], "{broken", lines[3]]).encode(), "some.jsonl")
    polled.ingest()
    archived(polled).write_text("\n".join(lines))
    assert again.one() == (Outcome.REPLAYED, "1 event taken in")
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
    assert (result.outcome, result.detail) == (Outcome.REPLAYED, "2 events taken in")
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
    assert (outcome, detail) == (Outcome.STILL_FAILING, "event_too_large, from the kept payload")
    assert again.one() == (Outcome.REPLAYED, "1 event taken in, from the kept payload")
    assert polled.states() == {"ignored": 2}
    ((uri,),) = polled.rows("select source_uri from sync.webhook_events where body->>'id' = '2'")
    assert uri.endswith("#1")


def test_what_was_not_kept_whole_is_not_taken_for_the_whole(polled: Inbox, again: Again) -> None:
    polled.drop(json.dumps(ignored(1) | {"x": "y" * 100_000}).encode(), "large.json")
    polled.ingest(limits=Limits(50_000, 50_000))
    archived(polled).unlink()
    assert again.one() == (Outcome.STILL_FAILING, "not_kept_whole, from the kept payload")


def test_a_file_that_is_too_large_for_the_option_still_is(polled: Inbox, again: Again) -> None:
    polled.drop(json.dumps(ignored(1) | {"x": "y" * 2_000}).encode(), "large.json")
    small = Limits(1_000, 1_000)
    polled.ingest(limits=small)
    assert again.one(limits=small) == (Outcome.STILL_FAILING, "file_too_large")
    assert again.one() == (Outcome.REPLAYED, "1 event taken in")


def test_a_file_whose_event_is_unknown_is_done_and_the_event_is_an_item(polled: Inbox, again: Again) -> None:
    polled.drop(b"{", "half.json")
    polled.ingest()
    archived(polled).write_text('{"webhook_event": "brand_new"}')
    assert again.one() == (Outcome.REPLAYED, "1 event taken in")
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


# Records


def test_a_record_that_was_mended_is_read_and_closed(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    assert again.one()[0] == Outcome.STILL_FAILING
    assert [state for _, _, state, _ in items(polled)] == ["open"]
    polled.world.mend(victim)
    assert again.one() == (Outcome.REPLAYED, f"installs/{victim} was read again")
    assert [(state, by) for _, _, state, by in items(polled)] == [("replayed", "ann")]
    polled.company.assert_mirror_is_true()


def test_a_record_that_fails_otherwise_now_stands_under_that_alone(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.world.mend(victim)
    polled.world.plant_bad(victim, BadKind.WRONG_TYPES)
    assert again.one() == (Outcome.STILL_FAILING, "expected_text at status_name")
    assert [(reason, state) for _, reason, state, _ in items(polled)] == [
        ("not_a_time at created_at", "replayed"),
        ("expected_text at status_name", "open"),
    ]


def test_several_items_of_one_record_are_served_by_one_read(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    for kind in (BadKind.ABSURD_DATE, BadKind.WRONG_TYPES):
        polled.world.plant_bad(victim, kind)
        polled.company.poll()
        polled.world.mend(victim)
    before = polled.asked(f"/api/v3/installs/{victim}")
    assert again().counts == {"replayed": 2}
    assert polled.asked(f"/api/v3/installs/{victim}") == before + 1


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_record_that_enerflo_no_longer_has_is_said_to_be_gone_and_closed(
    polled: Inbox, again: Again, mirrored: bool
) -> None:
    victim = first_install(polled) if mirrored else polled.world.create_install()
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.world.delete_install(victim)
    outcome, detail = again.one()
    assert (outcome, detail) == (
        Outcome.NOT_FOUND,
        f"Enerflo has no installs/{victim} any more; the item is closed",
    )
    assert [state for _, _, state, _ in items(polled)] == ["replayed"]
    gone = polled.rows("select deleted_at is not null from enerflo.installs where install_id = :i", i=victim)
    assert gone == ([(True,)] if mirrored else [])


def test_a_record_without_an_id_cannot_be_asked_for(polled: Inbox, again: Again) -> None:
    polled.world.plant_bad(first_install(polled), BadKind.MISSING_ID)
    polled.company.poll()
    assert again.one() == (Outcome.NOT_REPLAYABLE, "it has no id, so there is nothing to ask Enerflo for")


def test_records_wait_while_enerflo_does_not_answer(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.fault(f"503@/api/v3/installs/{victim}#1-99")
    assert again.one()[0] == Outcome.WAITING
    assert polled.rows("select state from sync.runs where job = 'replay'") == [("partial",)]
    assert [state for _, _, state, _ in items(polled)] == ["open"]


def test_a_note_is_read_through_its_install(polled: Inbox, again: Again) -> None:
    note = next(polled.world.truth.notes(deleted=False))
    put_aside(
        polled, NOTES, {"note_id": note.note_id, "epc_install_id": note.install_id, "created_at": "soon"}
    )
    assert again.one() == (Outcome.REPLAYED, f"notes/{note.note_id} was read again")


def test_a_note_that_its_install_does_not_list_is_not_found_and_stays_open(
    polled: Inbox, again: Again
) -> None:
    put_aside(
        polled, NOTES, {"note_id": 987654, "epc_install_id": first_install(polled), "created_at": "soon"}
    )
    assert again.one() == (Outcome.NOT_FOUND, "Enerflo's answer does not list it")
    assert [state for _, _, state, _ in items(polled)] == ["open"]


def test_a_customer_is_found_by_what_its_record_said(polled: Inbox, again: Again) -> None:
    customer = next(one for one in polled.world.truth.customers() if one.email)
    record = {"id": customer.customer_id, "email": customer.email, "created": "soon"}
    put_aside(polled, CUSTOMERS, record)
    assert again.one() == (Outcome.REPLAYED, f"customers/{customer.customer_id} was read again")


def test_a_change_order_is_read_by_its_id(polled: Inbox, again: Again) -> None:
    order = next(polled.world.truth.change_orders())
    record = {"id": order.change_order_id, "epc_install_id": order.install_id, "signed_at": "soon"}
    put_aside(polled, change_orders_resource(), record)
    assert again.one() == (Outcome.REPLAYED, f"change_orders/{order.change_order_id} was read again")


def test_kinds_that_come_later_cannot_be_replayed_and_say_so(polled: Inbox, again: Again) -> None:
    with polled.warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                " last_seen_at, count, state) values"
                " ('default', 'abc', 'push', 'refused', 'f', now(), now(), 1, 'open')"
            )
        )
    assert again.one() == (Outcome.NOT_REPLAYABLE, "items of kind push cannot be replayed yet")


# All of them


def mixed(inbox: Inbox) -> dict[str, Callable[[], None]]:
    """Put one of each kind aside; return what mends each."""
    victim, arriving = first_install(inbox), next_install(inbox)
    inbox.world.plant_bad(victim, BadKind.ABSURD_DATE)
    inbox.company.poll()
    not_found_now(inbox, arriving)
    inbox.drop(b"{", "half.json")
    inbox.ingest()
    (half,) = list(inbox.archive.rglob("half.json"))

    def arrive() -> None:
        while inbox.world.create_install() != arriving:
            pass

    return {
        "record": lambda: inbox.world.mend(victim),
        "event": arrive,
        "file": lambda: half.write_text(json.dumps(update_install(victim))) and None,
    }


def test_a_dry_replay_says_what_would_be_done_and_changes_nothing(polled: Inbox, again: Again) -> None:
    for mend in mixed(polled).values():
        mend()
    before, asked = everything(polled), sum(polled.api.requests.values())
    report = again(dry=True)
    assert report.run_id is None
    victim = first_install(polled)
    assert {result.kind: (result.outcome, result.detail) for result in report.results} == {
        "record": (Outcome.WOULD_REPLAY, f"read installs/{victim} again"),
        "event": (Outcome.WOULD_REPLAY, f"read installs/{next_install(polled) - 1} again"),
        "file": (Outcome.WOULD_REPLAY, "take in 1 event"),
    }
    assert everything(polled) == before
    assert sum(polled.api.requests.values()) == asked


def test_all_kinds_are_replayed_in_one_recorded_run(polled: Inbox, again: Again) -> None:
    for mend in mixed(polled).values():
        mend()
    report = again()
    assert report.counts == {"replayed": 3}
    assert not report.needs_a_person
    assert polled.rows(
        "select run_id, job, state, read = applied + unchanged + quarantined + skipped, requests > 0, read > 0"
        " from sync.runs where job = 'replay'"
    ) == [(report.run_id, "replay", "ok", True, True, True)]
    assert {(state, by) for _, _, state, by in items(polled)} == {("replayed", "ann")}
    # The new install's customer comes with the poll.
    assert polled.company.poll().state == "ok"
    polled.company.assert_mirror_is_true()


def test_a_second_replay_of_the_same_items_changes_nothing(polled: Inbox, again: Again) -> None:
    for mend in mixed(polled).values():
        mend()
    first = again()
    chosen = Selection(items=tuple(result.item_id for result in first.results))
    before = everything(polled)
    second = again(chosen)
    assert [result.detail for result in second.results] == ["before; there is nothing to do"] * 3
    after = everything(polled)
    # But for its own run.
    runs = 3
    assert len(after[runs]) == len(before[runs]) + 1
    assert [*after[:runs], *after[runs + 1 :]] == [*before[:runs], *before[runs + 1 :]]
    with pytest.raises(ConfigurationError, match="no open item fits"):
        again()


def test_what_fails_again_is_neither_doubled_nor_closed(polled: Inbox, again: Again) -> None:
    mixed(polled)
    before = items(polled)
    report = again()
    assert report.counts == {"still_failing": 2, "not_found": 1}
    assert items(polled) == before
    assert report.needs_a_person


@pytest.mark.parametrize(
    ("selection", "kinds"),
    [
        (Selection(event="update_install"), {"event"}),
        (Selection(everything=True), {"event", "file", "record"}),
    ],
)
def test_items_are_chosen_by_event_or_all(
    polled: Inbox, again: Again, selection: Selection, kinds: set[str]
) -> None:
    mixed(polled)
    assert {result.kind for result in again(selection, dry=True).results} == kinds


def test_items_are_chosen_by_fingerprint_or_by_the_beginning_of_an_id(polled: Inbox, again: Again) -> None:
    mixed(polled)
    ((item_id, fingerprint),) = polled.rows(
        "select item_id, fingerprint from sync.quarantine where kind = 'file'"
    )
    for selection in (Selection(items=(item_id[:10],)), Selection(fingerprint=fingerprint)):
        assert [result.item_id for result in again(selection, dry=True).results] == [item_id]


def test_a_dismissed_item_is_replayed_only_when_it_is_named(polled: Inbox, again: Again) -> None:
    mend = mixed(polled)
    mend["file"]()
    ((item_id,),) = polled.rows("select item_id from sync.quarantine where kind = 'file'")
    with polled.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set state = 'dismissed' where kind = 'file'"))
    assert "file" not in {result.kind for result in again(dry=True).results}
    assert again.one(Selection(items=(item_id,))) == (Outcome.REPLAYED, "1 event taken in")


def test_install_rows_of_a_replay_name_its_run_as_evidence(polled: Inbox, again: Again) -> None:
    fresh = polled.world.create_install()
    polled.world.plant_bad(fresh, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.world.mend(fresh)
    report = again()
    assert polled.rows(
        "select observed_by, evidence from enerflo.install_versions where install_id = :i", i=fresh
    ) == [("poll", f"replay:{report.run_id}")]
    assert INSTALLS.name == "installs"
