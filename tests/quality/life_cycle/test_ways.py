"""Ways back through a graph: what comes before a step, over what an install does not have or has left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from enerflo_sync.quality.life_cycle.ways import Way, bit, levels, ways

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_a_way_counts_the_steps_in_between() -> None:
    assert {way for way in ways(DIAMOND) if way.step == 4} == {
        Way(4, 2, 0),
        Way(4, 3, 0),
        Way(4, 1, bit(2)),
        Way(4, 1, bit(3)),
    }


def test_a_way_that_says_nothing_more_than_a_shorter_one_is_left_out() -> None:
    assert Way(3, 1, bit(2)) not in ways({"a": [], "b": ["a"], "c": ["a", "b"]})


def test_steps_stand_behind_all_that_comes_before_them() -> None:
    assert levels(DIAMOND) == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert levels({"a": ["c"], "b": [], "c": ["a"], "d": ["b"]}) == {"b": 0, "d": 1}


def before(after: Mapping[str, Sequence[str]], step: str, stands: set[str]) -> set[str]:
    """Walk back from a step, and stop at what stands in the way."""
    found: set[str] = set()
    for one in after[step]:
        found |= {one} if one in stands else before(after, one, stands)
    return found


@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20),
    standing=st.sets(st.integers(0, 7)),
)
def test_ways_find_what_a_walk_finds(edges: list[tuple[int, int]], standing: set[int]) -> None:
    names = [f"s{at}" for at in range(8)]
    after = {
        name: [names[a] for a, b in sorted(set(edges)) if b == at and a < b] for at, name in enumerate(names)
    }
    stands = {names[at] for at in standing}
    mask = sum(bit(at + 1) for at in standing)
    found = ways(after)
    for at, name in enumerate(names, 1):
        reached = {
            names[way.before - 1]
            for way in found
            if way.step == at and way.via & mask == 0 and bit(way.before) & mask
        }
        assert reached == before(after, name, stands)
