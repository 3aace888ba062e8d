"""A list that never ends is given up with an error that says so."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from enerflo_sync.enerflo import pages
from enerflo_sync.enerflo.client import MAX_BODY_BYTES, EnerfloClient
from enerflo_sync.enerflo.pages import Envelope, PageWalk, StopReason
from enerflo_sync.errors import ContractDriftError, FatalError

from .conftest import Asked, Reply, ScriptedServer

PATH = "/api/v3/installs"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "GROWTH", 200)
    monkeypatch.setattr(pages, "MOST_ROWS", 1_000)


def endless(server: ScriptedServer, **head: object) -> None:
    """Each page has ten rows of their own; ``total`` grows with every page."""

    def page(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": start + number + 1} for number in range(10)]
        more = {"total": start + 30} if head.get("total") else {}
        if head.get("pages"):
            more = {"pages": start // 10 + 2}
        return Reply(body=json.dumps({"results": rows, **more}).encode())

    server.handler = page


@pytest.mark.parametrize("says", ["total", "pages", "nothing"])
def test_a_list_that_grows_with_every_page_is_given_up(
    client: EnerfloClient, server: ScriptedServer, says: str
) -> None:
    endless(server, **{says: True})
    envelope = Envelope("results", total_key="total", total_pages_key="pages")
    walk = PageWalk(client, PATH, envelope, per_page=10)
    with pytest.raises(ContractDriftError, match=r"the list does not end: [0-9,]+ rows were read") as raised:
        for _ in walk:
            pass
    assert raised.value.where == f"GET {PATH}"
    assert "Check that the endpoint" in raised.value.next_step
    assert "The bounds are fixed, no setting moves them" in raised.value.next_step
    assert "200 more (GROWTH), and 1,000 in all (MOST_ROWS)" in raised.value.next_step
    assert not walk.complete
    assert len(server.asked) <= 102


@pytest.mark.parametrize(("rows", "is_taken"), [(220, True), (230, False)])
def test_a_list_may_grow_to_the_very_bound(
    client: EnerfloClient, server: ScriptedServer, rows: int, is_taken: bool
) -> None:
    """Ten rows when the walk began: twice those, and 200 more."""

    def page(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        found = [{"id": (number - 1) * 10 + n + 1} for n in range(10)] if number <= rows // 10 else []
        # It says that more is to come, and then ends.
        total = 10 if number == 1 else rows + 5
        return Reply(body=json.dumps({"results": found, "total": total}).encode())

    server.handler = page
    walk = PageWalk(client, PATH, Envelope("results", total_key="total"), per_page=10)
    try:
        seen = {bytes(row) for given in walk for row in given.records}
    except ContractDriftError:
        assert not is_taken
    else:
        assert is_taken
        assert len(seen) == rows


def test_the_same_page_for_ever_ends_at_once(client: EnerfloClient, server: ScriptedServer) -> None:
    server.handler = lambda asked: Reply(
        body=json.dumps({"results": [{"id": n} for n in range(10)]}).encode()
    )
    walk = PageWalk(client, PATH, Envelope("results"), per_page=10)
    assert sum(len(page.records) for page in walk) <= 30
    assert walk.stop_reason is StopReason.REPEATED_PAGE


def test_a_list_that_grows_a_little_is_read_whole(client: EnerfloClient, server: ScriptedServer) -> None:
    def page(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * 10
        rows = [{"id": start + number + 1} for number in range(max(0, min(10, 300 - start)))]
        return Reply(body=json.dumps({"results": rows, "total": min(300, 100 + 2 * start)}).encode())

    server.handler = page
    walk = PageWalk(client, PATH, Envelope("results", total_key="total"), per_page=10)
    assert sum(len(page.records) for page in walk) == 300
    assert walk.complete


def test_an_answer_has_a_bound_that_fits_into_memory() -> None:
    assert MAX_BODY_BYTES <= 128 * 1024 * 1024


def test_an_answer_beyond_its_bound_names_the_setting_that_helps(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    server.handler = lambda asked: Reply(body=b'{"results": ["' + b"x" * 5_000 + b'"]}')
    with pytest.raises(FatalError, match="larger than 1000 bytes") as raised:
        new_client(server.url, max_body_bytes=1_000).get(PATH)
    assert "poll.per_page in sync.yaml" in str(raised.value)
    assert "the bound itself is fixed" in str(raised.value)
