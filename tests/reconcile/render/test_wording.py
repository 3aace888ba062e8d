from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sync.counted import count_of
from enerflo_sync.reconcile.render.wording import (
    ValueKind,
    compact,
    duration,
    iso,
    share,
    shown_values,
    utc,
    visible,
)
from enerflo_sync.reconcile.report import Cause, Difference


def _short(ours: Any, theirs: Any, *, width: int = 40, **changes: Any) -> tuple[str, str]:
    fields: dict[str, Any] = {"field": "body", "cause": Cause.UNEXPLAINED, **changes}
    difference = Difference("notes", {"note_id": 1}, enerflo_value=ours, crm_value=theirs, **fields)
    left, right = shown_values(difference, width)
    return left.short, right.short


@given(st.text())
def test_a_shown_text_holds_no_character_that_cannot_be_seen(text: str) -> None:
    shown = visible(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert shown == shown.strip(" ")


def test_an_escape_sequence_and_a_reversed_reading_order_are_spelled_out() -> None:
    assert visible("\x1b[2Jgone\u202eetag") == r"\x1b[2Jgone\u202eetag"


def test_letters_of_any_script_and_emoji_stay_as_they_are() -> None:
    assert visible("Größe 屋根 👩\u200d🚀") == "Größe 屋根 👩\u200d🚀"


def test_spaces_at_the_ends_and_line_breaks_can_be_seen() -> None:
    assert visible(" a b  \n") == "␣a b  ⏎"
    assert visible("a ") == "a␣"
    assert visible("  ") == "␣␣"


def test_values_that_look_the_same_are_shown_so_that_they_differ() -> None:
    assert _short("12", 12) == ('"12"', "12")
    composed, decomposed = _short("é", "e\u0301")
    assert composed != decomposed
    assert composed.isascii()


def test_masked_values_are_not_rewritten() -> None:
    assert _short("J… D…", "J… D…", masked=True) == ("J… D…", "J… D…")


def test_no_value_and_an_empty_text_are_told_apart() -> None:
    assert _short(None, "") == ("no value", "empty text")


def test_a_text_that_reads_like_a_remark_is_still_a_value() -> None:
    difference = Difference("notes", {"note_id": 1}, "body", "no value", None, Cause.UNEXPLAINED)
    left, right = shown_values(difference, 40)
    assert (left.kind, right.kind) == (ValueKind.VALUE, ValueKind.REMARK)


@pytest.mark.parametrize("tail", ["", " and more"])
def test_long_values_are_cut_around_the_place_where_they_differ(tail: str) -> None:
    common = "x" * 5_000
    left, right = _short(f"{common}A", f"{common}{tail}")
    assert left != right
    assert left.endswith("xA")
    assert max(len(left), len(right)) <= 42


def test_the_full_text_has_a_limit_and_says_its_length() -> None:
    difference = Difference("notes", {"note_id": 1}, "body", "é" * 5_000_000, "b", Cause.UNEXPLAINED)
    left, _ = shown_values(difference, 40)
    assert left.cut
    assert left.full.endswith("(5,000,000 characters)")
    assert len(left.full) < 2_100


@pytest.mark.parametrize(
    ("cause", "ours", "theirs", "expected"),
    [
        (Cause.MISSING_IN_CRM, None, None, ("record", "no record")),
        (Cause.DELETED_IN_ENERFLO, None, None, ("no record", "record")),
        (Cause.IN_FLIGHT, {"id": 1}, None, ("id 1", "no record")),
        (Cause.IN_FLIGHT, None, None, ("not told", "not told")),
    ],
)
def test_a_whole_record_says_on_which_side_it_stands(
    cause: Cause, ours: Any, theirs: Any, expected: tuple[str, str]
) -> None:
    assert _short(ours, theirs, field=None, cause=cause) == expected


def test_times_are_told_in_utc_whatever_zone_they_come_in() -> None:
    moment = datetime(2025, 3, 3, 23, 30, 9, tzinfo=timezone(timedelta(hours=-5)))
    assert utc(moment) == "2025-03-04 04:30 UTC"
    assert iso(moment) == "2025-03-04T04:30:09Z"
    assert iso(datetime(2025, 1, 1, tzinfo=UTC)) == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 s"), (-3, "0.0 s"), (3.44, "3.4 s"), (125, "2 min 5 s"), (3600, "1 h"), (273_600, "3 d 4 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(timedelta(seconds=seconds)) == expected


def test_counts_have_separators_and_the_right_number() -> None:
    assert [count_of(n, "row") for n in (0, 1, 4_310)] == ["0 rows", "1 row", "4,310 rows"]
    assert [compact(n) for n in (10_000, 120_000, 2_500_000, 30 * 10**12)] == [
        "10,000",
        "120 k",
        "2.5 M",
        "30 T",
    ]


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_share_says_none_or_all_only_where_it_is_none_or_all(part: int, rest: int) -> None:
    text = share(part, part + rest)
    assert (text == "100 %") == (rest == 0 and part > 0)
    assert (text == "0 %") == (part == 0 and rest > 0)
    assert (text == "") == (part == 0 and rest == 0)
