"""Quarantine: listed by trouble with masked examples, shown, dismissed; settled where nothing is left to correct."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sandbox.bad_records import BadKind
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.masked_payload import masked_payload, readable_payload
from enerflo_sync.inbox.quarantine import Filter, dismiss_items, list_groups, list_items, show_item
from enerflo_sync.inbox.quarantine_items import ItemKind, ItemState, Selection, find_item, select_items
from tests.inbox.conftest import Inbox, sample

ACCOUNT = "default"
OPEN = Filter()


@pytest.fixture
def filled(inbox: Inbox) -> Inbox:
    """Three unknown events of one name, one of another, one broken file."""
    for number in range(3):
        inbox.drop({"webhook_event": "brand_new", "id": number, "email": f"someone{number}@example.org"})
        inbox.load()
    inbox.drop({"webhook_event": "other_new", "id": 1})
    inbox.drop(b'{"webhook_event": ', "broken.json")
    inbox.load()
    return inbox


def groups(inbox: Inbox, wanted: Filter = OPEN) -> dict[str, Any]:
    with inbox.warehouse.connect() as connection:
        return {group.reason: group for group in list_groups(connection, ACCOUNT, wanted)}


def dismiss(inbox: Inbox, selection: Selection, reason: str = "a test of theirs", by: str = "ann") -> int:
    with inbox.warehouse.begin() as connection:
        return dismiss_items(connection, ACCOUNT, selection, reason=reason, by=by, clock=inbox.clock)


def ids(inbox: Inbox) -> list[str]:
    return [item_id for (item_id,) in inbox.rows("select item_id from sync.quarantine order by 1")]


def test_items_are_grouped_by_fingerprint_with_count_times_and_next_step(filled: Inbox) -> None:
    found = groups(filled)
    assert set(found) == {"unknown_event at brand_new", "unknown_event at other_new", "truncated_json"}
    three = found["unknown_event at brand_new"]
    assert (three.items, three.open, three.count, three.kind) == (3, 3, 3, "event")
    assert (three.last_seen_at - three.first_seen_at).total_seconds() == 120
    assert "ignored_events" in three.next_step
    assert three.example == {"webhook_event": "brand_new", "id": 2, "email": "…@….org"}


def test_groups_and_items_are_filtered(filled: Inbox) -> None:
    assert set(groups(filled, Filter(kind=ItemKind.FILE))) == {"truncated_json"}
    assert set(groups(filled, Filter(reason="brand"))) == {"unknown_event at brand_new"}
    assert groups(filled, Filter(state=ItemState.DISMISSED)) == {}
    # Written by a person, not a pattern.
    assert groups(filled, Filter(reason="brand%")) == {}
    with filled.warehouse.connect() as connection:
        assert len(list_items(connection, ACCOUNT, Filter(reason="_new"))) == 4


def test_another_account_sees_nothing(filled: Inbox) -> None:
    with filled.warehouse.connect() as connection:
        assert list_groups(connection, "other", Filter()) == []
        with pytest.raises(ConfigurationError, match="no item has the id"):
            find_item(connection, "other", ids(filled)[0])


def test_an_item_is_found_by_a_beginning_that_is_its_own(filled: Inbox) -> None:
    one, *_ = ids(filled)
    with filled.warehouse.connect() as connection:
        assert find_item(connection, ACCOUNT, one[:12].upper()).item_id == one
        for name in ("zz", "%", "", "  "):
            with pytest.raises(ConfigurationError, match="no item has the id"):
                find_item(connection, ACCOUNT, name)


def test_a_beginning_of_several_ids_is_refused(filled: Inbox) -> None:
    with filled.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set item_id = 'ab' || item_id"))
        with pytest.raises(ConfigurationError, match="several items begin with 'ab'"):
            find_item(connection, ACCOUNT, "ab")


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (Selection(), "no item was named"),
        (Selection(items=("ab",), everything=True), "ids and all exclude each other"),
        (Selection(fingerprint="ffffffffffffffff"), "no item has the fingerprint"),
        (Selection(event="nothing_of_the_kind"), "no open item fits"),
    ],
)
def test_a_selection_that_is_not_clear_is_refused(filled: Inbox, selection: Selection, says: str) -> None:
    with filled.warehouse.connect() as connection, pytest.raises(ConfigurationError, match=says):
        select_items(connection, ACCOUNT, selection)


def test_a_dismissal_keeps_who_when_and_why_and_leaves_the_event_quarantined(filled: Inbox) -> None:
    fingerprint = groups(filled)["unknown_event at brand_new"].fingerprint
    assert dismiss(filled, Selection(fingerprint=fingerprint)) == 3
    assert filled.rows(
        "select distinct state, decided_by, decision_reason, decided_at is not null from sync.quarantine"
        " where fingerprint = :f",
        f=fingerprint,
    ) == [("dismissed", "ann", "a test of theirs", True)]
    assert filled.states() == {"quarantined": 4}
    assert set(groups(filled)) == {"unknown_event at other_new", "truncated_json"}


def test_what_is_dismissed_stays_so_when_it_comes_again(filled: Inbox) -> None:
    dismiss(filled, Selection(everything=True))
    filled.drop({"webhook_event": "other_new", "id": 1}, "again.json")
    filled.load()
    assert groups(filled) == {}
    assert groups(filled, Filter(state=None))["unknown_event at other_new"].count == 2


def test_a_second_dismissal_changes_nothing(filled: Inbox) -> None:
    chosen = Selection(items=tuple(ids(filled)))
    assert dismiss(filled, chosen) == 5
    assert dismiss(filled, chosen, reason="another", by="bob") == 0
    assert filled.rows("select distinct decided_by from sync.quarantine") == [("ann",)]


@pytest.mark.parametrize(("reason", "by"), [(" ", "ann"), ("why", "")])
def test_a_dismissal_needs_a_reason_and_a_name(filled: Inbox, reason: str, by: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a reason and a name"):
        dismiss(filled, Selection(everything=True), reason=reason, by=by)


def test_an_item_is_shown_masked_and_who_has_it_revealed_is_kept(filled: Inbox) -> None:
    wanted = groups(filled)["unknown_event at brand_new"].example_id
    with filled.warehouse.begin() as connection:
        masked = show_item(connection, ACCOUNT, wanted, reveal=False, by="ann", clock=filled.clock)
        assert "someone" not in str(masked.payload)
    assert filled.rows("select count(*) from sync.reveals") == [(0,)]
    with filled.warehouse.begin() as connection:
        shown = show_item(connection, ACCOUNT, wanted, reveal=True, by="ann", clock=filled.clock)
    assert shown.payload["email"] == "someone2@example.org"
    assert filled.rows("select who, what from sync.reveals") == [("ann", f"quarantine/{wanted}")]


PERSONAL = [
    *("RCustomer", "test.rcustomer", "000) 000", "123 Example", "Sample City", "12345", "Example County"),
    *("12.345678", "98.765432"),
]


def test_a_customer_is_masked_and_its_structure_ids_and_times_stay() -> None:
    body = sample("new_customer")
    masked = masked_payload(json.dumps(body).encode())
    written = json.dumps(masked, ensure_ascii=False)
    assert [text for text in PERSONAL if text in written] == []
    assert masked.keys() == body.keys()
    assert masked["address"].keys() == body["address"].keys()
    assert (masked["id"], masked["webhook_event"]) == (2860314, "new_customer")
    assert masked["timestamps"]["created_at"] == "2025-01-14 15:47:29"
    assert masked["first_name"] == "T…"


def test_keys_that_are_no_names_of_the_contract_are_masked() -> None:
    masked = masked_payload(json.dumps({"ann@example.org": 1, "Ann Lee": {"id": 7}, "17": 1}).encode())
    assert masked == {
        "[key of 15 characters, 0]": 1,
        "[key of 7 characters, 1]": {"id": 7},
        "17": 1,
    }


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfeAnn", b"[" * 5_000, b"Ann Lee"])
def test_of_what_is_no_json_only_the_size_is_shown(payload: bytes) -> None:
    assert masked_payload(payload) == f"[{len(payload):,} bytes that are no JSON]"


WORDS = st.text(min_size=2).map(lambda text: f"Zoë {text}")
NESTED = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "event", "x", "note"]) | WORDS, inner)
    ),
)


@given(NESTED)
def test_no_text_of_a_payload_comes_through_unmasked(value: Any) -> None:
    payload = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    assert "Zoë" not in json.dumps(masked_payload(payload), ensure_ascii=False)


def test_a_revealed_payload_has_no_signed_address() -> None:
    url = "https://s3.us-west-2.amazonaws.com/a/b?X-Amz-Signature=1234"
    assert readable_payload(json.dumps({"url": url}).encode()) == {"url": url.partition("?")[0]}
    assert readable_payload(b"\xffAnn") == "\\xffAnn"


def test_thousands_of_bad_lines_are_put_aside_at_once(inbox: Inbox) -> None:
    inbox.drop(b"\n".join(b'{"nameless": %d}' % number for number in range(6_000)), "many.jsonl")
    report = inbox.load()
    assert report.quarantined == 6_000
    assert inbox.one("select count(*) from sync.quarantine") == 6_000


# What nothing is left to correct of


def spoilt(inbox: Inbox) -> int:
    victim = min(row.install_id for row in inbox.world.truth.installs())
    inbox.world.plant_bad(victim, BadKind.ABSURD_DATE)
    inbox.company.poll()
    assert inbox.rows("select state from sync.quarantine") == [("open",)]
    return victim


def test_a_spoilt_record_that_is_deleted_is_settled_by_the_sweeps(polled: Inbox) -> None:
    polled.world.delete_install(spoilt(polled))
    polled.company.poll()
    polled.company.poll()
    assert polled.rows("select state from sync.quarantine") == [("replayed",)]
    polled.company.assert_mirror_is_true()


def test_an_item_of_a_record_that_came_back_spoilt_stays_open(polled: Inbox) -> None:
    victim = spoilt(polled)
    with polled.warehouse.begin() as connection:
        connection.execute(
            sa.text("update enerflo.installs set deleted_at = observed_at where install_id = :i"),
            {"i": victim},
        )
    polled.company.poll()
    assert polled.rows("select state from sync.quarantine") == [("open",)]


def test_a_webhook_that_meets_a_404_settles_the_records_item(polled: Inbox) -> None:
    victim = spoilt(polled)
    polled.world.delete_install(victim)
    polled.drop({"webhook_event": "update_install", "id": victim})
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.rows("select state from sync.quarantine") == [("replayed",)]


def test_an_item_that_comes_again_after_a_replay_is_open_and_nobodys(filled: Inbox) -> None:
    with filled.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set state = 'replayed', decided_by = 'ann'"))
    filled.drop({"webhook_event": "other_new", "id": 1}, "again.json")
    filled.load()
    assert filled.rows("select state, decided_by from sync.quarantine where reason like '%other_new'") == [
        ("open", None)
    ]
