"""What two columns say beside each other, value by value, and what names of columns say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enerflo_sync.reconcile.draft.belong import Pairing, is_sure
from enerflo_sync.reconcile.draft.beside import (
    Agreement,
    Column,
    Form,
    folded,
    of_numbers,
    of_texts,
    of_times,
    whole,
)
from enerflo_sync.reconcile.draft.words import is_called, names_title, nearness, words_of


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(("7", 7), (" 007 ", 7), ("7.0", 7), ("7.", 7), ("7.000", 7), ("-7", -7), ("+7", 7), ("0", 0)),
        *(("9" * 18, int("9" * 18)), ("0" * 9 + "9" * 18, int("9" * 18)), ("9" * 19, None)),
        *((text, None) for text in ("7.5", "7.01", "", " ", "1e3", "x7", "7x", "--7", ".0", None)),
    ],
)
def test_a_whole_number_is_read_however_it_is_written(value: str | None, number: int | None) -> None:
    assert whole(value) == number


def test_texts_numbers_and_times_are_read_roughly() -> None:
    assert [folded(one) for one in (" Straße ", None, "")] == ["strasse", "", ""]
    values = ["A-1, b_C", "", None, "--", "$7,500.00", "1.5e3", "12 kW", "five", "-2", ".5", "2026-01-02"]
    column = Column(values)
    assert column.texts == ["a1bc", None, None, None, "750000", "15e3", "12kw", "five", "2", "5", "20260102"]
    assert column.numbers == [-1.0, None, None, None, 7500.0, 1500.0, 12.0, None, -2.0, 0.5, None]
    day = datetime(2026, 1, 2, tzinfo=UTC)
    times = Column(
        [
            " 2026-01-02 ",
            "2026-01-02T03:04:05+02:00",
            "20260102",
            "2026-13-01",
            "abcd-01-01",
            "2026",
            None,
            "",
        ]
    )
    assert times.times == [day, day + timedelta(hours=1, minutes=4, seconds=5), *[None] * 6]


def agreement(of: Any, crm: list[str | None], mirror: list[str | None], **options: Any) -> tuple[Any, ...]:
    found = of(Column(crm), Column(mirror), **options)
    return found.form, found.both, found.same, found.distinct


def test_texts_agree_without_case_and_punctuation() -> None:
    assert agreement(of_texts, ["A b", "c", None, "d"], ["a-B", "x", "y", None], labels=True) == (
        Form.TEXT,
        2,
        1,
        2,
    )
    assert agreement(of_texts, [], [], labels=True) == (Form.TEXT, 0, 0, 0)


@pytest.mark.parametrize(
    ("crm", "mirror", "labels", "expected"),
    [
        # Three rows of each value, and a label of its own for each.
        ("xxxyyy", "aaabbb", True, (Form.LABEL, 6, 6, 2)),
        ("xxxyyy", "aaabbb", False, (Form.TEXT, 6, 0, 2)),
        # The usual label of each.
        ("xxyyyyy", "aaabbbb", True, (Form.LABEL, 7, 6, 2)),
        # Fewer than three rows of each value on average.
        ("xxyyy", "aabbb", True, (Form.TEXT, 5, 0, 2)),
        # One label for all, or one value.
        ("xxxxxx", "aaabbb", True, (Form.TEXT, 6, 0, 2)),
        ("xxxyyy", "aaaaaa", True, (Form.TEXT, 6, 0, 1)),
        # One label may stand for two values.
        ("xxxxxxyyy", "aaabbbccc", True, (Form.LABEL, 9, 9, 3)),
        ("xxxxxxxxxyyy", "aaabbbcccddd", True, (Form.TEXT, 12, 0, 4)),
        # As texts they agree as well.
        ("aaabbb", "aaabbb", True, (Form.TEXT, 6, 6, 2)),
        ("aaayyy", "aaabbb", True, (Form.LABEL, 6, 6, 2)),
    ],
)
def test_labels_stand_for_values(crm: str, mirror: str, labels: bool, expected: tuple[Any, ...]) -> None:
    assert agreement(of_texts, list(crm), list(mirror), labels=labels) == expected


def test_more_than_fifty_values_are_no_labels() -> None:
    for count, form in ((50, Form.LABEL), (51, Form.TEXT)):
        mirror = [f"m{n}" for n in range(count) for _ in range(3)]
        crm = [f"c{n}" for n in range(count) for _ in range(3)]
        assert agreement(of_texts, crm, mirror, labels=True)[0] is form


@pytest.mark.parametrize(
    ("crm", "mirror", "same"),
    [
        (["1", "2", None, "4"], ["1", "3", "5", None], 1),
        # Rounded by at most half a percent of the larger one.
        (["200", "200", "-200", "0"], ["199", "198.9", "-199", "0"], 3),
        # In hundredths and thousandths, and no mixture of both.
        (["1250", "2500"], ["12.5", "25"], 2),
        (["12500", "25000"], ["12.5", "25"], 2),
        (["12500", "2500", "12.5"], ["12.5", "25", "12.5"], 1),
        (["0.125"], ["12.5"], 0),
        ([], [], 0),
    ],
)
def test_numbers_agree_in_another_unit(crm: list[str | None], mirror: list[str | None], same: int) -> None:
    both = sum(a is not None and b is not None for a, b in zip(crm, mirror, strict=True))
    found = agreement(of_numbers, crm, mirror)
    assert found[:3] == (Form.NUMBER, both, same)


def moved(by: timedelta) -> str:
    return (datetime(2026, 1, 2, 12, tzinfo=UTC) + by).isoformat()


@pytest.mark.parametrize(
    ("offsets", "same"),
    [
        ([timedelta(0)] * 3, 3),
        # Summer and winter, and no third offset.
        ([timedelta(hours=h) for h in (6, 7, 7)], 3),
        ([timedelta(hours=h) for h in (6, 7, 7, 8)], 3),
        ([timedelta(hours=14), timedelta(hours=-14), timedelta(hours=14, seconds=1)], 2),
        ([timedelta(minutes=345), timedelta(minutes=352)], 1),
        (
            [timedelta(hours=1, seconds=59), timedelta(hours=2, seconds=60), timedelta(hours=2, seconds=-59)],
            2,
        ),
        ([timedelta(microseconds=900_000)], 1),
    ],
)
def test_times_agree_in_whole_offsets(offsets: list[timedelta], same: int) -> None:
    crm, mirror = [moved(one) for one in offsets], [moved(timedelta(0))] * len(offsets)
    assert agreement(of_times, list(crm), list(mirror))[:3] == (Form.TIME, len(offsets), same)


@pytest.mark.parametrize(
    ("days", "same"),
    [([0, 0, 0], 3), ([-1, 0, -1], 3), ([1, 0, 1], 3), ([-1, 1, 0, 0], 3), ([-1, -1, 1], 2), ([2, -2], 0)],
)
def test_days_agree_with_times_of_the_day_or_the_next(days: list[int], same: int) -> None:
    crm: list[str | None] = [f"2026-01-{10 + day:02d}" for day in days]
    mirror: list[str | None] = ["2026-01-10T23:59:59+00:00"] * len(days)
    assert agreement(of_times, crm, mirror)[2] == same
    # One time within the day, and the column holds times: a midnight is one second later.
    assert agreement(of_times, [*crm, "2026-01-10T23:59:59"], [*mirror, mirror[0]])[2] == 1 + days.count(1)


SURE = [
    # By the name alone.
    *((None, 1.0, True), (None, 0.8, False)),
    # Both, same and different values of a few rows: the name has to say it, and no row may differ.
    *(((2, 2, 1), 1.0, True), ((2, 1, 1), 1.0, False), ((0, 0, 0), 1.0, False), ((2, 2, 1), 0.8, False)),
    *(((1, 1, 1), 1.0, True), ((3, 1, 1), 1.0, False)),
    # By values alone: four of five rows, three different ones.
    *(((5, 4, 3), 0.0, True), ((100, 79, 3), 0.0, False), ((5, 4, 2), 0.0, False), ((5, 5, 2), 0.4, False)),
    # Where the name says it, too.
    *(((5, 5, 2), 0.5, True), ((10, 5, 1), 0.5, True), ((10, 4, 9), 1.0, False), ((6, 3, 1), 0.5, True)),
    *(((4, 2, 2), 1.0, False), ((10, 5, 9), 0.4, False)),
]


@pytest.mark.parametrize(("of", "by_name", "sure"), SURE)
def test_a_pairing_is_sure_by_values_or_by_values_and_names(
    of: tuple[int, int, int] | None, by_name: float, sure: bool
) -> None:
    found = Agreement(Form.TEXT, *of) if of is not None else None
    assert is_sure(Pairing("a", "b", "text", found, by_name)) is sure


@pytest.mark.parametrize(
    ("of", "by_name", "sure"),
    [((10, 8, 2), 0.5, True), ((10, 8, 2), 0.4, False), ((10, 7, 5), 1.0, False), ((2, 2, 2), 0.5, False)],
)
def test_labels_are_sure_where_the_name_says_so_too(
    of: tuple[int, int, int], by_name: float, sure: bool
) -> None:
    assert is_sure(Pairing("a", "b", "text", Agreement(Form.LABEL, *of), by_name)) is sure


def test_the_share_and_the_score_of_a_pairing() -> None:
    assert Agreement(Form.TEXT, 0, 0, 0).share == 0.0
    assert Agreement(Form.TEXT, 4, 3, 1).share == 0.75
    assert Pairing("a", "b", "text", Agreement(Form.TEXT, 4, 3, 1), 0.5).score == 1.0
    assert Pairing("a", "b", "text", None, 0.5).score == 0.25
    assert Pairing("a", "b", "text", None).options == {"enerflo": "b", "type": "text"}
    wide = Pairing("a", "due_at", "date", None, milestone="Permit")
    assert wide.options == {"milestone": "Permit", "enerflo": "due_at", "type": "date"}
    assert wide.place == ("Permit", "due_at")


def test_the_words_of_a_name() -> None:
    names = {
        "Enerflo_Install_Id__c": ("enerflo", "install", "id"),
        "property_hs_deal_stage": ("deal", "stage"),
        "createdDate2Time": ("created", "date2", "time"),
        "HTTPStatus": ("httpstatus",),
        # Nothing but noise is a name, too.
        "custom_field": ("custom", "field"),
        "": (),
    }
    assert {name: words_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "meaning", "near"),
    [
        *(("panel_count", "panel count", 1.0), ("PanelCount", "panel count", 1.0), ("panelcount", "panel count", 1.0)),
        # All words of the meaning, in a name of at most twice as many.
        *(("count_of_panel", "panel count", 0.8), ("a_b_panel_count", "panel count", 0.8)),
        *(("a_b_d_panel_count", "panel count", 0.5), ("a_status", "status", 0.8), ("a_b_status", "status", 0.5)),
        # Half of them.
        *(("panel_x", "panel count", 0.5), ("panel", "panel count type", 0.0), ("panel_type", "panel count type", 0.5)),
        *(("x", "panel count", 0.0), ("", "panel count", 0.0)),
    ],
)  # fmt: skip
def test_how_near_a_name_comes(name: str, meaning: str, near: float) -> None:
    assert nearness(name, [meaning]) == near
    assert nearness(name, ["nothing of it at all", meaning]) == near
    assert is_called(name, [meaning]) is (near == 1.0)
    assert nearness(name, []) == 0.0


@pytest.mark.parametrize(
    ("name", "title", "named"),
    [
        *(
            ("permit_date", "Permitting", True),
            ("Permitted_On", "Permit", True),
            ("permi", "Permission", True),
        ),
        *(
            ("perm_date", "Permitting", False),
            ("site_date", "Site visit", False),
            ("visit", "Site Visit", True),
        ),
        *(("install_done", "Installation", True), ("done", "Permitting", False)),
    ],
)
def test_a_name_has_a_word_of_a_title(name: str, title: str, named: bool) -> None:
    assert names_title(name, title) is named
