"""Every time format of REFERENCE.md §4 names the moment it was made from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sync.enerflo.times import parse_date, parse_time, time_text
from enerflo_sync.errors import BadRecordError

MOMENT = datetime(2024, 6, 13, 17, 5, 9, tzinfo=UTC)

FORMS: dict[str, Callable[[datetime], object]] = {
    "naive": lambda t: f"{t:%Y-%m-%d %H:%M:%S}",
    "naive with T": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}",
    "iso offset": lambda t: t.isoformat(),
    "iso other offset": lambda t: t.astimezone(timezone(timedelta(hours=-7))).isoformat(),
    "iso z": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}Z",
    "iso ms z": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}.000Z",
    "offset without colon": lambda t: f"{t:%Y-%m-%d %H:%M:%S}+0000",
    "offset after a space": lambda t: f"{t:%Y-%m-%d %H:%M:%S} +00:00",
    "utc by name": lambda t: f"{t:%Y-%m-%d %H:%M:%S} UTC",
    "blanks around": lambda t: f"  {t:%Y-%m-%d %H:%M:%S}\n",
    "carbon": lambda t: {"date": f"{t:%Y-%m-%d %H:%M:%S}.000000", "timezone_type": 3, "timezone": "UTC"},
    "carbon zone": lambda t: {
        "date": f"{t.astimezone(timezone(timedelta(hours=-7))):%Y-%m-%d %H:%M:%S}.000000",
        "timezone_type": 3,
        "timezone": "America/Phoenix",
    },
    "carbon offset": lambda t: {
        "date": f"{t.astimezone(timezone(timedelta(hours=5, minutes=30))):%Y-%m-%d %H:%M:%S}",
        "timezone_type": 1,
        "timezone": "+05:30",
    },
    "carbon without zone": lambda t: {"date": f"{t:%Y-%m-%d %H:%M:%S}"},
    "epoch": lambda t: int(t.timestamp()),
    "epoch ms": lambda t: int(t.timestamp()) * 1000,
    "epoch float": lambda t: t.timestamp(),
    "epoch digits": lambda t: str(int(t.timestamp())),
    "epoch ms digits": lambda t: str(int(t.timestamp()) * 1000),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_known_moment_is_read_from_each_form(form: str) -> None:
    parsed = parse_time(FORMS[form](MOMENT))
    assert parsed == MOMENT
    assert parsed is not None
    assert parsed.tzinfo is UTC


@given(
    moment=st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC)),
    form=st.sampled_from(sorted(FORMS)),
)
def test_any_moment_comes_back_from_any_form(moment: datetime, form: str) -> None:
    whole = moment.replace(microsecond=0)
    assert parse_time(FORMS[form](whole)) == whole


@given(st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC)))
def test_fractions_of_a_second_are_kept_where_the_form_has_them(moment: datetime) -> None:
    text = moment.isoformat(sep=" ", timespec="microseconds").removesuffix("+00:00")
    assert parse_time(text) == moment
    assert parse_time({"date": text, "timezone": "UTC"}) == moment
    assert parse_time(moment.isoformat()) == moment


@pytest.mark.parametrize("value", [None, "", "  ", "0000-00-00", "0000-00-00 00:00:00", [], {}, {"date": ""}])
def test_what_names_no_moment_is_none(value: object) -> None:
    assert parse_time(value) is None
    assert parse_date(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "2024-13-01 00:00:00",
        "2024-02-30 00:00:00",
        "24-01-01",
        "2024-01-01 25:00:00",
        "1969-12-31 23:59:59",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        0,
        -1,
        10**30,
        float("nan"),
        float("inf"),
        True,
        ["2024-01-01"],
        {"timezone": "UTC"},
        {"date": 5},
        {"date": "2024-01-01 00:00:00", "timezone": "Mars/Olympus"},
        {"date": "2024-01-01 00:00:00", "timezone": "../../etc/passwd"},
        {"date": "2024-01-01 00:00:00", "timezone": "+99:99"},
        {"date": "2024-01-01 00:00:00", "timezone": 3},
        "²024-01-01 00:00:00",
        b"2024-01-01",
    ],
)
def test_nonsense_and_absurd_years_are_a_bad_record(value: object) -> None:
    with pytest.raises(BadRecordError):
        parse_time(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.dictionaries(st.text(), st.text())))
def test_whatever_comes_it_is_a_time_or_none_or_a_bad_record(value: object) -> None:
    try:
        parsed = parse_time(value)
    except BadRecordError:
        return
    assert parsed is None or 1990 <= parsed.year <= 2100


def test_the_error_shows_the_form_of_the_value_and_not_the_value() -> None:
    with pytest.raises(BadRecordError) as raised:
        parse_time("jane@example.com 555-1234")
    assert "jane" not in str(raised.value)
    assert "555" not in str(raised.value)
    assert "aaaa@aaaaaaa.aaa 999-9999" in str(raised.value)


def test_a_date_is_the_day_in_utc() -> None:
    assert parse_date("2024-06-13") == date(2024, 6, 13)
    assert parse_date("2024-06-13 23:59:59") == date(2024, 6, 13)
    assert parse_date("2024-06-13T23:00:00-07:00") == date(2024, 6, 14)
    assert parse_time("2024-06-13") == datetime(2024, 6, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *("2024-08-07 23:59:41", "1990-01-01 00:00:00", "2100-12-31 23:59:59", "2024-08-07T23:59:41+02:00"),
        *(
            "2024-08-07T23:59:41Z",
            "2024-08-07T23:59:41.000000Z",
            "2024-08-07T23:59:41+00:00",
            "2024-08-07T23:59:41",
        ),
        *("2024-08-07 23:59:41.000000", "", None, "0000-00-00 00:00:00", 1723075181, [], "2024-08-07"),
    ],
)
def test_a_times_text_names_the_same_moment(value: object) -> None:
    moment, text = parse_time(value), time_text(value)
    assert (None if text is None else datetime.fromisoformat(text)) == moment


@pytest.mark.parametrize(
    "value",
    [
        "1989-12-31 23:59:59",
        "2101-01-01 00:00:00",
        "2024-13-01 00:00:00",
        "2024-08-07 23:59:6x",
        "2024-08-07T23:59:6xZ",
        "2024-13-07T23:59:41+00:00",
        "soon",
        True,
    ],
)
def test_what_is_no_time_has_no_text_either(value: object) -> None:
    with pytest.raises(BadRecordError):
        time_text(value)
    with pytest.raises(BadRecordError):
        parse_time(value)


def test_a_times_text_is_what_postgresql_says(warehouse: sa.Engine) -> None:
    values = [
        "2024-08-07 23:59:41",
        "2024-08-07T23:59:41Z",
        "2024-08-07T23:59:41+02:00",
        1723075181,
        "2024-08-07",
    ]
    with warehouse.connect() as connection:
        for value in values:
            text = time_text(value)
            assert connection.scalar(sa.text("select cast(:t as timestamptz)::text"), {"t": text}) == text
