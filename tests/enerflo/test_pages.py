"""Walking a list that changes while it is read: nothing that stays in it is missed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.failures import VendorRefusedError
from enerflo_sync.enerflo.pages import Envelope, PageWalk, StopReason
from enerflo_sync.errors import ContractDriftError, RetriableError

from .conftest import Asked, JumpingClock, Reply, ScriptedServer

PATH = "/api/v3/installs"
TOTALS = Envelope("results", total_key="total")
PAGES = Envelope("notes", total_pages_key="totalPages", size_param="pageSize")


class LivingList:
    """Ids, newest first, served in pages; ``before`` runs ahead of each answer with its ordinal."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.cap = 10_000
        self.answered = 0
        self.before: Callable[[int], Reply | None] = lambda ordinal: None
        self.sizes: list[int] = []

    def __call__(self, asked: Asked) -> Reply:
        self.answered += 1
        if reply := self.before(self.answered):
            return reply
        asked_size = int(asked.query["per_page"])
        self.sizes.append(asked_size)
        size = min(asked_size, self.cap)
        start = (int(asked.query["page"]) - 1) * size
        rows = [{"id": number} for number in self.ids[start : start + size]]
        return Reply(body=json.dumps({"total": len(self.ids), "results": rows}).encode())

    def add(self, count: int) -> None:
        """Add newer records at the front."""
        newest = max(self.ids, default=0)
        self.ids[:0] = range(newest + count, newest, -1)


def ids_of(walk: PageWalk) -> list[int]:
    return [json.loads(bytes(record))["id"] for page in walk for record in page.records]


def newest_first(count: int) -> list[int]:
    return list(range(count, 0, -1))


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 25])
def test_every_row_is_delivered_once_while_nothing_changes(
    client: EnerfloClient, server: ScriptedServer, count: int
) -> None:
    server.handler = LivingList(newest_first(count))
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert ids_of(walk) == newest_first(count)
    assert walk.complete
    assert walk.expected_total == walk.rows == count


@pytest.mark.parametrize(("start", "first"), [(0, 25), (9, 25), (10, 15), (24, 5), (25, 5), (30, None)])
def test_a_walk_that_passes_over_rows_begins_with_the_page_of_the_next_one(
    client: EnerfloClient, server: ScriptedServer, start: int, first: int | None
) -> None:
    server.handler = LivingList(newest_first(25))
    walk = PageWalk(client, PATH, TOTALS, per_page=10, start=start)
    ids = ids_of(walk)
    assert ids == ([] if first is None else list(range(first, 0, -1)))
    assert walk.complete


def test_it_stops_on_the_total_without_an_extra_request(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.handler = LivingList(newest_first(30))
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    ids_of(walk)
    assert (walk.requests, walk.stop_reason) == (3, StopReason.TOTAL_REACHED)


def test_a_page_says_what_was_asked_for_and_when(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.handler = LivingList(newest_first(15))
    pages = list(PageWalk(client, PATH, TOTALS, per_page=10))
    assert [(page.number, page.per_page, page.total, len(page.records)) for page in pages] == [
        (1, 10, 15, 10),
        (2, 10, 15, 5),
    ]
    assert pages[0].requested_at == clock.now()
    assert bytes(pages[1].records[4]) == b'{"id": 1}'


def test_records_added_during_the_walk_only_repeat_rows(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(30))
    living.before = lambda ordinal: living.add(3) if ordinal == 2 else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert set(ids_of(walk)) >= set(newest_first(30))
    assert walk.complete
    assert walk.expected_total == 33


def test_exactly_a_page_of_added_records_is_not_mistaken_for_a_loop(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(30))
    living.before = lambda ordinal: living.add(10) if ordinal == 2 else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert set(ids_of(walk)) >= set(newest_first(30))
    assert walk.complete


@pytest.mark.parametrize("at", [2, 3, 4])
@pytest.mark.parametrize("gone", [1, 3, 12])
def test_records_deleted_during_the_walk_hide_no_other(
    client: EnerfloClient, server: ScriptedServer, at: int, gone: int
) -> None:
    living = LivingList(newest_first(40))

    def delete_from_the_front(ordinal: int) -> None:
        if ordinal == at:
            del living.ids[:gone]

    living.before = delete_from_the_front
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert set(ids_of(walk)) >= set(living.ids)
    assert walk.complete
    assert walk.expected_total == 40 - gone


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    per_page=st.sampled_from([4, 7, 16]),
    cap=st.sampled_from([5, 10_000]),
    events=st.lists(st.tuples(st.sampled_from("+-x"), st.integers(0, 59)), max_size=25),
)
def test_what_stays_in_the_list_is_delivered_whatever_happens_around_it(
    client: EnerfloClient,
    server: ScriptedServer,
    count: int,
    per_page: int,
    cap: int,
    events: list[tuple[str, int]],
) -> None:
    living = LivingList(newest_first(count))
    living.cap = cap
    throughout = set(living.ids)

    def happen(ordinal: int) -> Reply | None:
        if ordinal == 1 or ordinal - 2 >= len(events):
            return None
        kind, where = events[ordinal - 2]
        # The client gives up after six in a row, which is another test's matter.
        if kind == "x" and [one for one, _ in events[max(0, ordinal - 6) : ordinal - 2]] != ["x"] * 4:
            return Reply(504)
        if kind == "+":
            living.add(where % 5)
        elif living.ids:
            throughout.discard(living.ids.pop(where % len(living.ids)))
        return None

    living.before = happen
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=per_page, floor=2)
    delivered = set(ids_of(walk))
    assert walk.complete
    assert delivered >= throughout


def test_short_pages_do_not_end_the_walk(client: EnerfloClient, server: ScriptedServer) -> None:
    def hide_every_third(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": number} for number in newest_first(50)[start : start + 10] if number % 3]
        return Reply(body=json.dumps({"total": 50, "results": rows}).encode())

    server.handler = hide_every_third
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert ids_of(walk) == [number for number in newest_first(50) if number % 3]
    assert (walk.stop_reason, walk.complete) == (StopReason.EMPTY_PAGE, False)


def test_a_server_that_caps_the_page_size_is_read_whole(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(95))
    living.cap = 20
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=500)
    assert ids_of(walk) == newest_first(95)
    # The first page is asked for twice: it could have lost rows on its way.
    assert (walk.complete, walk.requests) == (True, 6)


def test_a_deletion_under_a_capped_page_size_hides_no_other(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(27))
    living.cap = 5
    living.before = lambda ordinal: living.ids.remove(27) if ordinal == 3 else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=7)
    assert set(ids_of(walk)) >= set(living.ids)
    assert walk.complete


def test_a_504_in_the_middle_halves_the_page_and_skips_nothing(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    living = LivingList(newest_first(1000))
    living.before = lambda ordinal: Reply(504) if ordinal in (3, 4) else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=200)
    assert ids_of(walk) == newest_first(1000)
    assert living.sizes == [200, 200, *[50] * 8, 100, 100]
    assert walk.requests == living.answered
    assert walk.complete
    assert clock.slept == []


def test_an_odd_size_is_aligned_again_by_reading_some_rows_twice(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(300))
    living.before = lambda ordinal: Reply(504) if ordinal in (2, 3) else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=125)
    ids = ids_of(walk)
    assert set(ids) == set(newest_first(300))
    assert len(ids) < 300 + 125
    assert living.sizes[1] == 31


def test_at_the_floor_a_504_is_tried_again_with_waits_and_then_given_up(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.handler = lambda asked: Reply(504)
    walk = PageWalk(client, PATH, TOTALS, per_page=100, floor=25)
    with pytest.raises(RetriableError, match="504"):
        ids_of(walk)
    assert [asked.query["per_page"] for asked in server.asked] == ["100", "50", *["25"] * 6]
    assert len(clock.slept) == 5
    assert not walk.complete
    assert walk.stop_reason is None


def test_a_slow_answer_halves_the_page_and_quick_ones_let_it_grow_again(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, clock: JumpingClock
) -> None:
    living = LivingList(newest_first(2000))
    living.before = lambda ordinal: clock.sleep(30.0) if ordinal == 1 else None
    server.handler = living
    walk = PageWalk(new_client(server.url), PATH, TOTALS, per_page=100, slow_seconds=20)
    assert ids_of(walk) == newest_first(2000)
    assert living.sizes[:2] == [100, 50]
    assert living.sizes[-1] == 100
    assert walk.complete


def test_a_server_that_ignores_the_page_number_is_contract_drift_where_the_total_says_more(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    ordinal = iter(range(100))

    def always_the_first(asked: Asked) -> Reply:
        rows = [{"id": number, "logged_in_user": next(ordinal)} for number in newest_first(10)]
        return Reply(body=json.dumps({"total": 95, "results": rows}).encode())

    server.handler = always_the_first
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    with pytest.raises(ContractDriftError, match="repeats an earlier page"):
        ids_of(walk)
    assert len(server.asked) == 2
    assert not walk.complete


def test_a_repeated_page_without_a_total_ends_the_walk_and_says_so(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    def last_page_for_ever(asked: Asked) -> Reply:
        start = (min(int(asked.query["page"]), 3) - 1) * 10
        rows = [{"id": number} for number in newest_first(30)[start : start + 10]]
        return Reply(body=json.dumps({"results": rows}).encode())

    server.handler = last_page_for_ever
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert set(ids_of(walk)) == set(newest_first(30))
    assert (walk.stop_reason, walk.complete) == (StopReason.REPEATED_PAGE, True)
    server.handler = lambda asked: last_page_for_ever(Asked("GET", PATH, {"page": "1"}, {}, b""))
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    ids_of(walk)
    assert (walk.stop_reason, walk.complete) == (StopReason.REPEATED_PAGE, False)


def test_a_total_that_counts_the_page_is_found_out(client: EnerfloClient, server: ScriptedServer) -> None:
    def count_of_the_page(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": number} for number in newest_first(25)[start : start + 10]]
        return Reply(body=json.dumps({"total": len(rows), "results": rows}).encode())

    server.handler = count_of_the_page
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    assert ids_of(walk) == newest_first(25)
    assert walk.complete
    assert walk.expected_total is None


def test_a_total_that_falls_for_ever_ends_the_walk_as_incomplete(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    totals = iter(range(100_000, 0, -1))

    def falling(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": 10_000 - start - number} for number in range(10)]
        return Reply(body=json.dumps({"total": next(totals) % 7 + 100, "results": rows}).encode())

    server.handler = falling
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    ids_of(walk)
    assert walk.stop_reason in (StopReason.NOT_ENDING, StopReason.TOTAL_REACHED)
    assert len(server.asked) < 300


def test_success_false_on_a_later_page_ends_the_walk_with_an_error(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    living = LivingList(newest_first(30))
    living.before = lambda ordinal: Reply(body=b'{"success": false}') if ordinal == 2 else None
    server.handler = living
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    with pytest.raises(VendorRefusedError):
        ids_of(walk)
    assert not walk.complete


@pytest.mark.parametrize(
    "body",
    [
        b'{"total": 3}',
        b'{"total": 3, "results": "none"}',
        b'{"total": {"value": 3}, "results": []}',
        b'{"total": true, "results": []}',
        b"[]",
    ],
)
def test_another_envelope_is_contract_drift(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(ContractDriftError):
        ids_of(PageWalk(client, PATH, TOTALS))
    assert len(server.asked) == 1


def test_phps_forms_of_a_list_and_a_number_are_understood(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"total": "2", "results": {"0": {"id": 2}, "5": {"id": 1}}}')]
    walk = PageWalk(client, PATH, TOTALS)
    assert ids_of(walk) == [2, 1]
    assert walk.expected_total == 2


def test_a_strange_record_is_passed_on_undecoded(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"total": 3, "results": [17, {"id": "\xff"}, {"id": {"a": 1}}]}')]
    walk = PageWalk(client, PATH, TOTALS)
    assert [bytes(record) for page in walk for record in page.records] == [
        b"17",
        b'{"id": "\xff"}',
        b'{"id": {"a": 1}}',
    ]
    assert walk.complete


def test_a_walk_that_is_left_early_is_not_complete(client: EnerfloClient, server: ScriptedServer) -> None:
    server.handler = LivingList(newest_first(30))
    walk = PageWalk(client, PATH, TOTALS, per_page=10)
    next(iter(walk))
    assert not walk.complete
    assert len(server.asked) == 1
