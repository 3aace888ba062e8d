"""Replay: what stands in quarantine is tried again by the usual paths, and closed only when it is stored."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from enerflo_sandbox.bad_records import BadKind
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.quarantine_items import Selection
from enerflo_sync.inbox.replay_report import ReplayOutcome
from enerflo_sync.resources.installs import INSTALLS
from tests.inbox.conftest import LIMITS, Inbox, update_install
from tests.inbox.replaying import (
    Again,
    everything,
    first_install,
    items,
    next_install,
    not_found_now,
)


def test_an_event_that_is_declared_since_is_ignored_and_its_item_closed(polled: Inbox, again: Again) -> None:
    polled.drop({"webhook_event": "brand_new", "id": 1})
    polled.ingest()
    assert again.one() == (ReplayOutcome.STILL_FAILING, "unknown_event at brand_new")
    declared = Limits(LIMITS.file, LIMITS.event, frozenset({"brand_new"}))
    assert again.one(limits=declared) == (ReplayOutcome.REPLAYED, "known and ignored now")
    assert polled.states() == {"ignored": 1}
    assert items(polled) == [("event", "unknown_event at brand_new", "replayed", "ann")]


def test_an_event_whose_record_is_there_now_is_applied(polled: Inbox, again: Again) -> None:
    install_id = next_install(polled)
    not_found_now(polled, install_id)
    while polled.world.create_install() != install_id:
        pass
    assert again.one() == (ReplayOutcome.REPLAYED, "applied")
    assert polled.states() == {"applied": 1}
    assert polled.install(install_id, "observed_by") == ("webhook",)
    assert items(polled) == [("event", "not_found at installs", "replayed", "ann")]


def test_an_event_whose_record_is_still_not_there_says_so(polled: Inbox, again: Again) -> None:
    not_found_now(polled, next_install(polled))
    assert again.one() == (ReplayOutcome.NOT_FOUND, "not_found")
    assert polled.states() == {"quarantined": 1}
    assert items(polled) == [("event", "not_found at installs", "open", None)]


def test_an_event_that_fails_for_another_reason_stands_under_that_alone(polled: Inbox, again: Again) -> None:
    install_id = next_install(polled)
    not_found_now(polled, install_id)
    polled.fault(f"success_false@/api/v3/installs/{install_id}#1")
    outcome, detail = again.one()
    assert (outcome, "VendorRefusedError" in detail) == (ReplayOutcome.STILL_FAILING, True)
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
    assert (outcome, "the next ingest" in detail) == (ReplayOutcome.WAITING, True)
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


def test_kinds_that_come_later_cannot_be_replayed_and_say_so(polled: Inbox, again: Again) -> None:
    with polled.warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                " last_seen_at, count, state) values"
                " ('default', 'abc', 'push', 'refused', 'f', now(), now(), 1, 'open')"
            )
        )
    assert again.one() == (ReplayOutcome.NOT_REPLAYABLE, "items of kind push cannot be replayed yet")


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
        "record": (ReplayOutcome.WOULD_REPLAY, f"read installs/{victim} again"),
        "event": (ReplayOutcome.WOULD_REPLAY, f"read installs/{next_install(polled) - 1} again"),
        "file": (ReplayOutcome.WOULD_REPLAY, "ingest 1 event"),
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
    assert again.one(Selection(items=(item_id,))) == (ReplayOutcome.REPLAYED, "1 event ingested")


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
