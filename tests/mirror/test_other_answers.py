"""A vendor that answers otherwise than the sandbox does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.exchange import Request, Response
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company

Answer = Callable[[Any, Request], Any]


def answers(company: Company, path: str, change: Answer) -> SandboxApi:
    """Let the vendor answer a GET of ``path`` with what ``change`` makes of the sandbox's answer."""
    api = company.api_of = company.api_of or SandboxApi(company.world, clock=company.clock)
    real = api._route

    def route(request: Request, asked: str, key: str) -> Response:
        answer = real(request, asked, key)
        if request.method != "GET" or asked != path or answer.status != 200:
            return answer
        said = json.dumps(change(json.loads(answer.body), request))
        return Response(200, answer.headers, said.encode())

    api._route = route  # type: ignore[method-assign]
    return api


def installs(company: Company) -> list[int]:
    return sorted((row.install_id for row in company.world.truth.installs()), reverse=True)


def test_a_direct_read_that_answers_another_install_takes_no_milestones_away(company: Company) -> None:
    """A cache between us and Enerflo that mixes two answers up."""
    company.lean_lists = True
    company.api_of = SandboxApi(company.world, clock=company.clock, lean_lists=True)
    company.poll(details=100)
    asked, other = installs(company)[3:5]
    its_own = company.world.rendered(company.world.number_of(other))
    answers(company, f"/api/v3/installs/{asked}", lambda *_: json.loads(its_own) | {"id": other})
    report = company.poll(PollResource.INSTALLS, details=100)
    assert report.state is RunState.PARTIAL
    assert any(f"{asked}: " in reason for reason in report.reasons["incomplete"]), report.reasons
    assert company.rows("select count(*) from enerflo.milestones where deleted_at is not null") == [(0,)]


COUNTED = {"/api/v3/installs": "total", "/api/v1/customers": "dataCount", "/api/v3/change-orders": "total"}


@pytest.mark.parametrize("path", COUNTED)
def test_a_total_that_is_smaller_than_the_list_hides_and_deletes_nothing(company: Company, path: str) -> None:
    """A count that Enerflo keeps and brings up to date later than the list."""

    def counted_before(said: Any, _: Request) -> Any:
        return said | {COUNTED[path]: said[COUNTED[path]] - 3}

    answers(company, path, counted_before)
    for _ in range(3):
        report = company.poll(per_page=2)
        assert (report.state, report.reasons) == (RunState.OK, {})
    company.assert_mirror_is_true()


def test_statuses_of_which_a_next_page_is_named_are_not_taken_for_all(company: Company) -> None:
    """Laravel's own form of a list in pages: its count and its pages stand in ``meta``."""
    company.poll()
    before = company.mirror("install_statuses", ["status_id"])

    def first_page(said: Any, _: Request) -> Any:
        rows = said["results"]
        meta = {"current_page": 1, "last_page": 2, "per_page": len(rows) - 2, "total": len(rows)}
        return {"data": rows[:-2], "links": {"next": "https://enerflo.io/?page=2"}, "meta": meta}

    answers(company, "/api/v3/install-statuses", first_page)
    for _ in range(2):
        report = company.poll()
        assert report.state is RunState.PARTIAL
        assert any("there are more" in reason for reason in report.reasons["incomplete"])
    assert company.mirror("install_statuses", ["status_id"]) == before


def test_a_list_that_takes_no_page_number_and_names_a_next_page_was_not_read_whole(company: Company) -> None:
    first: list[Any] = []

    def always_the_first(said: Any, _: Request) -> Any:
        first.extend(said["results"][: 5 - len(first)])
        return {"data": first, "current_page": 1, "next_page_url": "https://enerflo.io/?page=2"}

    answers(company, "/api/v3/change-orders", always_the_first)
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert any("repeats an earlier page" in reason for reason in report.reasons["incomplete"])


GONE_AT = "2026-03-01 10:00:00"


def of_install(company: Company, install_id: int, table: str = "installs") -> set[tuple[bool]]:
    query = f"select deleted_at is not null from enerflo.{table} where install_id = :id"
    return {(deleted,) for (deleted,) in company.rows(query, id=install_id)}


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_an_install_of_which_enerflo_says_when_it_was_deleted_is_deleted(
    company: Company, listed: bool
) -> None:
    """REFERENCE.md §8: an install has ``deleted_at``. Enerflo may go on to show such records."""
    company.poll()
    victim = installs(company)[7]

    def in_list(said: Any, _: Request) -> Any:
        for row in said["results"]:
            row["deleted_at"] = GONE_AT if row["id"] == victim else None
        kept = said["results"] if listed else [row for row in said["results"] if row["id"] != victim]
        return said | {"results": kept, "total": said["total"] - (not listed)}

    answers(company, "/api/v3/installs", in_list)
    answers(company, f"/api/v3/installs/{victim}", lambda said, _: said | {"deleted_at": GONE_AT})
    report = company.poll(per_page=500)
    assert (report.state, report.reasons["notice"]) == (RunState.OK, {"absent": 1, "deleted": 1})
    assert of_install(company, victim) == of_install(company, victim, "milestones") == {(True,)}
    report = company.poll(per_page=500)
    assert report.reasons == ({"skipped": {"deleted_in_enerflo": 1}} if listed else {})
    # Somebody brings it back.
    company.api_of = None
    company.poll(per_page=500)
    company.assert_mirror_is_true()


def test_an_install_that_was_deleted_before_it_was_known_is_not_stored(company: Company) -> None:
    victim = installs(company)[7]

    def in_list(said: Any, _: Request) -> Any:
        for row in said["results"]:
            row["deleted_at"] = GONE_AT if row["id"] == victim else ""
        return said

    answers(company, "/api/v3/installs", in_list)
    assert company.poll(per_page=500).state is RunState.OK
    assert of_install(company, victim) == set()
    assert company.rows("select count(*) from enerflo.installs") == [(59,)]


def test_a_status_of_which_enerflo_says_when_it_was_deleted_is_none_of_the_companys(company: Company) -> None:
    company.poll()

    def with_an_older_one(said: Any, _: Request) -> Any:
        older = said["results"][0] | {"id": 9_001, "deleted_at": GONE_AT}
        return {"results": [older, *said["results"]]}

    answers(company, "/api/v3/install-statuses", with_an_older_one)
    company.poll()
    company.assert_mirror_is_true()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"status": {"id": 4, "name": "On Hold"}, "status_id": 7}, (4, "On Hold")),
        ({"status": {"id": 4}, "status_name": "On Hold"}, (4, "On Hold")),
        ({"status": {}, "status_id": 4, "status_name": "On Hold"}, (4, "On Hold")),
        ({"status": {"name": "On Hold"}, "status_id": "4"}, (4, "On Hold")),
        ({"status": "On Hold", "status_id": 4}, (4, "On Hold")),
    ],
)
def test_a_status_is_read_from_the_root_where_its_object_lacks_it(
    said: dict[str, Any], expected: Any
) -> None:
    """REFERENCE.md §9: accept ``status.id``, else ``status_id``."""
    ((row,), _) = INSTALLS.rows_by_column({"id": 5, **said})
    assert (row["status_id"], row["status_name"]) == expected


@pytest.mark.parametrize("read_ahead", [0, 1])
def test_an_install_that_is_listed_twice_says_the_same_after_each_poll(
    company: Company, read_ahead: int
) -> None:
    """An install in two offices, a row each: of rows on two pages the later counts, as on one page."""
    company.poll()
    first: list[Any] = []

    def in_two_offices(said: Any, request: Request) -> Any:
        if request.parameters()["page"] == "1":
            first[:] = said["results"][3:4]
        if request.parameters()["page"] == "2":
            said["results"].append(first[0] | {"office": {"name": "Second"}})
        return said | {"total": said["total"] + 1}

    answers(company, "/api/v3/installs", in_two_offices)
    for _ in range(4):
        assert company.poll(PollResource.INSTALLS, read_ahead=read_ahead).state is RunState.OK
        found = company.rows("select install_id from enerflo.installs where office_name = 'Second'")
        assert found == [(first[0]["id"],)]
