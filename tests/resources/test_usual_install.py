"""The quick reader of usual installs says what the deciding reader says, or nothing."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enerflo_sandbox.world import World
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.fingerprint import decode, stable_bytes
from enerflo_sync.resources.installs import INSTALLS

WORLD = World(40, seed=5)
RECORDS = [stable_bytes(WORLD.rendered(number)) for number in WORLD.installs.live()]

ODD: list[Any] = [
    *(
        None,
        "",
        [],
        {},
        0,
        1,
        -1,
        12,
        12.5,
        "12",
        "1_0",
        True,
        2**63,
        1e300,
        "x",
        " ",
        "0",
        0.0,
        -0.0,
        "0.00",
        "[]",
        [1],
        {"id": 3},
    ),
    *(
        "2024-01-01 00:00:00",
        "2024-01-01T00:00:00Z",
        "0000-00-00 00:00:00",
        "2024-99-01 00:00:00",
        1700000000,
    ),
    *({"title": "T"}, {"name": ""}, {"first_name": "A", "last_name": "B"}, [{"milestone": {"id": 1}}]),
    *(
        [{"id": 5, "started_at": None}],
        {"1": {"milestone": {"id": 1}}},
        [{"EnerfloV2DealId": "u"}],
        100_001,
        50_000.1,
    ),
]


def usual(data: bytes) -> Any:
    assert INSTALLS.read_usual is not None
    return INSTALLS.read_usual(data)


def rows(contents: Any) -> Any:
    return [None if part is None else [tuple(row) for row in part] for part in contents]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def put(record: Any, path: tuple[Any, ...], value: Any, *, remove: bool) -> None:
    for key in path[:-1]:
        record = record[key]
    if remove and isinstance(record, dict):
        del record[path[-1]]
    else:
        record[path[-1]] = value


def test_the_companys_records_are_usual() -> None:
    assert sum(usual(data) is not None for data in RECORDS) == len(RECORDS)


@pytest.mark.parametrize("data", RECORDS[:20])
def test_both_readers_agree_on_a_usual_record(data: bytes) -> None:
    assert rows(usual(data)) == rows(INSTALLS.read(decode(data)[0]))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mutation_makes_the_readers_disagree(draw: st.DataObject) -> None:
    record = copy.deepcopy(msgspec.json.decode(draw.draw(st.sampled_from(RECORDS))))
    for _ in range(draw.draw(st.integers(1, 3))):
        path = draw.draw(st.sampled_from(places(record)))
        put(record, path, copy.deepcopy(draw.draw(st.sampled_from(ODD))), remove=draw.draw(st.booleans()))
    data = msgspec.json.encode(record)
    quick = usual(data)
    if quick is None:
        return
    try:
        decided = INSTALLS.read(decode(data)[0])
    except BadRecordError as error:
        pytest.fail(f"read quickly although it is bad: {error.what} at {error.field}")
    assert rows(quick) == rows(decided)
    assert record.keys() <= INSTALLS.known_fields


ZEROS = st.one_of(
    st.sampled_from([0, 0.0, -0.0, "0", "-0", "+0.0", "0.00", "00", "0.", "0e5", "0.0E-3", " 0 "]),
    st.integers(1, 25).map(lambda digits: "0." + "0" * digits),
)
SPELLED = {
    "system_size": ("system_size", "solar_system_size", "system_size_kw"),
    "panel_count": ("panel_count", "solar_data_panel_count", "panel_count"),
}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SPELLED)), ZEROS, ZEROS, st.sampled_from([7, "7", 7.0, "7.0"]), st.booleans())
def test_zero_at_the_root_is_the_surveys_value_however_zero_is_spelled(
    name: str, root: Any, first_of_survey: Any, value: Any, spell_out: bool
) -> None:
    own, other, column = SPELLED[name]
    record = copy.deepcopy(msgspec.json.decode(RECORDS[0]))
    record[name] = root
    record["survey"] = {own: first_of_survey, other: value} if spell_out else {own: value}
    data = msgspec.json.encode(record)
    own_row = dict(zip(INSTALLS.parts[0].columns, INSTALLS.read(decode(data)[0])[0][0], strict=True))  # type: ignore[index]
    assert float(own_row[column]) == 7
    quick = usual(data)
    assert quick is None or rows(quick) == rows(INSTALLS.read(decode(data)[0]))


@given(ZEROS)
def test_zero_everywhere_stays_zero(zero: Any) -> None:
    record = copy.deepcopy(msgspec.json.decode(RECORDS[0]))
    record |= {"system_size": zero, "panel_count": zero, "survey": {"system_size": zero}}
    contents = INSTALLS.read(decode(msgspec.json.encode(record))[0])
    own_row = dict(zip(INSTALLS.parts[0].columns, contents[0][0], strict=True))  # type: ignore[index]
    assert float(own_row["system_size_kw"]) == float(own_row["panel_count"]) == 0
