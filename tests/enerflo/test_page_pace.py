"""How many rows a walk asks for: halved where an answer is slow, doubled again after a run of quick ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.pages import Envelope, PageWalk, StopReason
from enerflo_sync.errors import ContractDriftError

from .conftest import Asked, JumpingClock, Reply, ScriptedServer

PATH = "/api/v3/installs"
TOTALS = Envelope("results", total_key="total")
SLOW = 20.0
# An answer that is slow, one that is as long as a page may take, the longest quick one, one that is not quick.
TOO_SLOW, IN_TIME, QUICK, NOT_QUICK = SLOW + 1, SLOW, SLOW / 4 - 1, SLOW / 4


def rows(start: int, size: int, count: int) -> list[dict[str, int]]:
    return [{"id": number} for number in range(count, 0, -1)[start : start + size]]


def walked(
    client: EnerfloClient,
    server: ScriptedServer,
    clock: JumpingClock,
    seconds: dict[int, float],
    *,
    count: int,
    refused: tuple[int, ...] = (),
    **options: int,
) -> list[str]:
    """Return the sizes that were asked for, ``"3x100 from 1"`` for three pages, and see that no row is missed.

    :param seconds: how long the answer with each ordinal takes; all others are quick.
    :param refused: ordinals of answers that are too heavy for the server.
    """
    asked: list[tuple[int, int]] = []

    def answer(request: Asked) -> Reply:
        page, size = int(request.query["page"]), int(request.query["per_page"])
        asked.append((page, size))
        clock.sleep(seconds.get(len(asked), QUICK))
        if len(asked) in refused:
            return Reply(504)
        body = {"total": count, "results": rows((page - 1) * size, size, count)}
        return Reply(body=json.dumps(body).encode())

    server.handler = answer
    walk = PageWalk(client, PATH, TOTALS, slow_seconds=SLOW, **options)
    ids = {json.loads(bytes(record))["id"] for page in walk for record in page.records}
    assert ids == set(range(1, count + 1))
    assert walk.complete
    assert walk.requests == len(asked)
    found = []
    for size, group in groupby(asked, key=lambda one: one[1]):
        pages = [page for page, _ in group]
        assert pages == list(range(pages[0], pages[0] + len(pages))), asked
        found.append(f"{len(pages)}x{size} from {pages[0]}")
    return found


CASES: dict[str, tuple[dict[int, float], dict[str, Any], list[str]]] = {
    "all are quick": ({}, {"count": 1000}, ["10x100 from 1"]),
    "as long as it may take": ({1: IN_TIME}, {"count": 300}, ["3x100 from 1"]),
    "a slow one": ({1: TOO_SLOW}, {"count": 1000}, ["1x100 from 1", "8x50 from 3", "5x100 from 6"]),
    "one that is not quick begins the run anew": (
        {1: TOO_SLOW, 5: NOT_QUICK},
        {"count": 1000},
        ["1x100 from 1", "12x50 from 3", "3x100 from 8"],
    ),
    "one later that is not quick": (
        {1: TOO_SLOW, 6: NOT_QUICK},
        {"count": 1200},
        ["1x100 from 1", "14x50 from 3", "4x100 from 9"],
    ),
    "one row on the last page": ({}, {"count": 201}, ["3x100 from 1"]),
    "slow again after it grew": (
        {1: TOO_SLOW, 12: TOO_SLOW},
        {"count": 2500},
        ["1x100 from 1", "8x50 from 3", "3x100 from 6", "16x50 from 17", "9x100 from 17"],
    ),
    "slow three times": (
        {1: TOO_SLOW, 2: TOO_SLOW, 3: TOO_SLOW},
        {"count": 1500},
        [
            "1x100 from 1",
            "1x50 from 3",
            "1x25 from 7",
            "8x12 from 15",
            "9x24 from 12",
            "8x48 from 11",
            "7x96 from 10",
        ],
    ),
    "slow at the floor": (
        {1: TOO_SLOW, 2: TOO_SLOW},
        {"count": 400, "floor": 50},
        ["1x100 from 1", "6x50 from 3"],
    ),
    "a floor above the size": ({1: TOO_SLOW}, {"count": 300, "floor": 500}, ["3x100 from 1"]),
    "an odd size": (
        {2: TOO_SLOW},
        {"count": 1500, "per_page": 75, "floor": 5},
        ["2x75 from 1", "8x37 from 5", "15x74 from 7"],
    ),
    "slow where the larger page does not begin": (
        {2: TOO_SLOW, 3: TOO_SLOW},
        {"count": 1500, "floor": 5},
        ["2x100 from 1", "1x50 from 5", "8x25 from 11", "9x50 from 10", "6x100 from 10"],
    ),
    "too heavy": ({}, {"count": 1200, "refused": (2,)}, ["2x100 from 1", "8x50 from 3", "7x100 from 6"]),
    "too heavy after it grew": (
        {1: TOO_SLOW},
        {"count": 2600, "refused": (11,)},
        ["1x100 from 1", "8x50 from 3", "2x100 from 6", "16x50 from 13", "12x100 from 15"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_sizes_of_pages(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, clock: JumpingClock, name: str
) -> None:
    seconds, options, sizes = CASES[name]
    found = walked(new_client(server.url), server, clock, seconds, **{"per_page": 100, "floor": 10} | options)
    assert found == sizes


def served(*pages: list[dict[str, int]], more: dict[str, Any] | None = None) -> Callable[[Asked], Reply]:
    """Serve pages as they are, the last one again and again."""

    def answer(asked: Asked) -> Reply:
        page = pages[min(int(asked.query["page"]), len(pages)) - 1]
        return Reply(body=json.dumps({"results": page, **(more or {})}).encode())

    return answer


@pytest.mark.parametrize(
    ("pages", "complete"),
    [
        # A second page that is the first one again: the server may not know page numbers at all.
        ([rows(0, 10, 99)], False),
        # It knows them: two pages differ. Or the first page was not full, so there was nothing more.
        ([rows(0, 10, 99), rows(10, 10, 99)], True),
        ([rows(0, 9, 99)], True),
    ],
)
def test_a_page_that_comes_again_where_nothing_says_how_many_there_are(
    client: EnerfloClient, server: ScriptedServer, pages: list[list[dict[str, int]]], complete: bool
) -> None:
    server.handler = served(*pages)
    walk = PageWalk(client, PATH, Envelope("results"), per_page=10)
    list(walk)
    assert (walk.stop_reason, walk.complete) == (StopReason.REPEATED_PAGE, complete)
    assert walk.requests == len(pages) + 1


def test_a_page_that_comes_again_is_known_again_where_answers_are_slow_and_pages_as_small_as_they_may_be(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, clock: JumpingClock
) -> None:
    def answer(asked: Asked) -> Reply:
        clock.sleep(TOO_SLOW)
        # It ends, so that a walk does which does not see that.
        page = rows(0, 10, 99) if int(asked.query["page"]) < 9 else []
        return Reply(body=json.dumps({"results": page}).encode())

    server.handler = answer
    walk = PageWalk(
        new_client(server.url), PATH, Envelope("results"), per_page=10, floor=10, slow_seconds=SLOW
    )
    list(walk)
    assert (walk.stop_reason, walk.requests) == (StopReason.REPEATED_PAGE, 2)


def test_the_last_page_by_number_may_not_be_an_earlier_one(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.handler = served(rows(0, 10, 99), more={"pages": 2})
    walk = PageWalk(client, PATH, Envelope("results", total_pages_key="pages"), per_page=10)
    with pytest.raises(ContractDriftError, match="page 2 repeats an earlier page"):
        list(walk)
