"""Pages that lack rows, and lists that count only their pages."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.enerflo.appointments import read_appointments
from enerflo_sync.enerflo.change_orders import read_install_change_orders
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.notes import read_install_notes
from enerflo_sync.enerflo.pages import Envelope, PageWalk, StopReason
from enerflo_sync.enerflo.statuses import read_statuses
from enerflo_sync.errors import ContractDriftError
from tests.enerflo.test_pages import PAGES, PATH, TOTALS, LivingList, ids_of, newest_first

from .conftest import Asked, Reply, ScriptedServer


def page_of_notes(asked: Asked, ids: list[int]) -> Reply:
    size = int(asked.query["pageSize"])
    start = (int(asked.query["page"]) - 1) * size
    rows = [{"note_id": number, "id": 5010} for number in ids[start : start + size]]
    pages = -(-len(ids) // size)
    body = {"success": True, "page": int(asked.query["page"]), "totalPages": pages, "notes": rows}
    return Reply(body=json.dumps(body).encode())


@pytest.mark.parametrize("count", [0, 1, 10, 11, 30])
def test_an_endpoint_with_page_counts_is_read_to_its_last_page(
    client: EnerfloClient, server: ScriptedServer, count: int
) -> None:
    server.handler = lambda asked: page_of_notes(asked, list(range(count)))
    walk = PageWalk(client, PATH, PAGES, per_page=10)
    ids = [json.loads(bytes(record))["note_id"] for page in walk for record in page.records]
    assert ids == list(range(count))
    assert walk.complete
    assert walk.requests == max(1, -(-count // 10))


def test_a_falling_page_count_steps_back(client: EnerfloClient, server: ScriptedServer) -> None:
    ids = list(range(40))

    def answer(asked: Asked) -> Reply:
        if len(server.asked) == 3:
            del ids[:10]
        return page_of_notes(asked, ids)

    server.handler = answer
    walk = PageWalk(client, PATH, PAGES, per_page=10)
    delivered = {json.loads(bytes(record))["note_id"] for page in walk for record in page.records}
    assert delivered >= set(ids)
    assert walk.complete


class Lacking:
    """A living list whose answers with these ordinals keep only some of their rows."""

    def __init__(self, living: Callable[[Asked], Reply], keep: dict[int, int], key: str = "results") -> None:
        self.living, self.keep, self.key = living, keep, key
        self.answered = 0

    def __call__(self, asked: Asked) -> Reply:
        self.answered += 1
        reply = self.living(asked)
        body = json.loads(reply.body)
        if self.answered in self.keep:
            body[self.key] = body[self.key][: self.keep[self.answered]]
        return Reply(body=json.dumps(body).encode())


def paged(ids: list[int]) -> Callable[[Asked], Reply]:
    """Serve ids by pages that count pages, as notes are served."""

    def answer(asked: Asked) -> Reply:
        size, page = int(asked.query["pageSize"]), int(asked.query["page"])
        rows = [{"id": number} for number in ids[(page - 1) * size : page * size]]
        pages = max(1, -(-len(ids) // size))
        return Reply(body=json.dumps({"page": page, "totalPages": pages, "notes": rows}).encode())

    return answer


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("envelope", [TOTALS, PAGES], ids=["total", "totalPages"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_page_that_lacks_rows_once_is_asked_for_again(
    client: EnerfloClient, server: ScriptedServer, envelope: Envelope, at: int, rows: int
) -> None:
    whole = newest_first(38)
    living = LivingList(whole) if envelope is TOTALS else paged(whole)
    server.handler = Lacking(living, {at: rows}, str(envelope.records_key))
    walk = PageWalk(client, PATH, envelope, per_page=10)
    assert ids_of(walk) == whole
    assert (walk.complete, walk.is_lacking, walk.requests) == (True, False, 5)


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("envelope", [TOTALS, PAGES], ids=["total", "totalPages"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_page_that_goes_on_to_lack_rows_makes_the_walk_incomplete(
    client: EnerfloClient, server: ScriptedServer, envelope: Envelope, at: int, rows: int
) -> None:
    whole = newest_first(38)
    living = LivingList(whole) if envelope is TOTALS else paged(whole)
    server.handler = Lacking(living, dict.fromkeys(range(at, at + 3), rows), str(envelope.records_key))
    walk = PageWalk(client, PATH, envelope, per_page=10)
    delivered = set(ids_of(walk))
    assert delivered < set(whole)
    assert not walk.complete
    assert walk.requests <= 8


def test_the_last_page_by_number_is_not_empty(client: EnerfloClient, server: ScriptedServer) -> None:
    server.handler = Lacking(paged(newest_first(38)), dict.fromkeys((4, 5, 6), 0), "notes")
    walk = PageWalk(client, PATH, PAGES, per_page=10)
    ids_of(walk)
    assert (walk.complete, walk.stop_reason) == (False, StopReason.EMPTY_PAGE)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    per_page=st.sampled_from([4, 7, 16]),
    cap=st.sampled_from([5, 10_000]),
    keep=st.dictionaries(st.integers(1, 30), st.integers(0, 6), max_size=8),
    deleted=st.dictionaries(st.integers(2, 20), st.integers(0, 59), max_size=4),
)
def test_a_walk_is_complete_only_if_it_delivered_all_whatever_its_pages_lack(
    client: EnerfloClient,
    server: ScriptedServer,
    count: int,
    per_page: int,
    cap: int,
    keep: dict[int, int],
    deleted: dict[int, int],
) -> None:
    living = LivingList(newest_first(count))
    living.cap = cap
    throughout = set(living.ids)

    def happen(ordinal: int) -> None:
        if ordinal in deleted and living.ids:
            throughout.discard(living.ids.pop(deleted[ordinal] % len(living.ids)))

    living.before = happen
    server.handler = Lacking(living, keep)
    walk = PageWalk(client, PATH, TOTALS, per_page=per_page, floor=2)
    delivered = set(ids_of(walk))
    assert not walk.complete or delivered >= throughout


LISTS: list[Callable[[EnerfloClient], list[object]]] = [
    lambda client: list(read_statuses(client)),
    lambda client: list(read_install_notes(client, 12)),
    lambda client: list(read_install_change_orders(client, 12)),
    lambda client: list(read_appointments(client, 5)),
]
ROW = b'[{"id": 4, "name": "On Hold"}]'


@pytest.mark.parametrize("read", LISTS)
@pytest.mark.parametrize(
    "more",
    [
        *(b'"total": 2', b'"dataCount": "2"', b'"totalPages": 2'),
        *(b'"current_page": 1, "last_page": 2', b'"next_page_url": "https://enerflo.io/?page=2"'),
        *(b'"meta": {"current_page": 1, "last_page": 2}', b'"links": {"prev": null, "next": "?page=2"}'),
        *(b'"meta": {"next_cursor": "eyJpZCI6NH0"}',),
    ],
)
def test_a_list_that_comes_in_one_go_and_says_that_there_are_more_rows_is_not_taken_for_whole(
    client: EnerfloClient, server: ScriptedServer, read: Callable[[EnerfloClient], list[object]], more: bytes
) -> None:
    lacking = Reply(body=b'{"data": ' + ROW + b", " + more + b"}")
    server.handler = lambda asked: lacking
    with pytest.raises(ContractDriftError, match="there are more"):
        read(client)
    # Where that passes it is read.
    server.handler = lambda asked: lacking if len(server.asked) == 4 else Reply(body=ROW)
    assert len(read(client)) == 1


@pytest.mark.parametrize("count", [True, False], ids=["with total", "without"])
def test_an_empty_page_that_names_a_next_one_is_the_end_only_where_the_total_says_so(
    client: EnerfloClient, server: ScriptedServer, count: bool
) -> None:
    def answer(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": number} for number in newest_first(25)[start : start + 10]]
        body = {"results": rows, "next_page_url": "https://enerflo.io/?page=9"}
        return Reply(body=json.dumps(body | ({"total": 25} if count else {})).encode())

    server.handler = answer
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert ids_of(walk) == newest_first(25)
    assert walk.complete is count
