from __future__ import annotations

import json
from collections import Counter

import pytest

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.exchange import Cut, Request
from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault, parse_rate, parse_script
from enerflo_sandbox.world import World

from .conftest import Ask, asking, body_of


def _with(world: World, *script: ScriptedFault, slow_seconds: float = 30.0) -> Ask:
    return asking(SandboxApi(world, faults=Faults(script=script, slow_seconds=slow_seconds)))


def test_a_script_hits_exactly_the_requests_that_it_names(world: World) -> None:
    ask = _with(world, ScriptedFault(FaultKind.GATEWAY_TIMEOUT, "/api/v3/installs", 3, 4))
    statuses = []
    for page in range(1, 7):
        ask("GET", "/api/v3/authcheck")
        statuses.append(ask("GET", f"/api/v3/installs?page={page}").status)
    assert statuses == [200, 200, 504, 504, 200, 200]


def test_a_script_may_hold_several_faults_for_one_path_and_one_method(world: World) -> None:
    install_id = next(world.truth.installs()).install_id
    ask = _with(
        world,
        ScriptedFault(FaultKind.SERVER_ERROR, "/api/v3/installs/*", 1, method="PUT"),
        ScriptedFault(FaultKind.UNAVAILABLE, "/api/v3/installs/*", 2, method="PUT"),
    )
    url = f"/api/v3/installs/{install_id}/"
    answers = [ask(method, url, {"status_id": 4}).status for method in ("GET", "PUT", "PUT", "PUT")]
    assert answers == [200, 500, 503, 200]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((FaultKind.SERVER_ERROR, 500), (FaultKind.BAD_GATEWAY, 502)),
        *((FaultKind.UNAVAILABLE, 503), (FaultKind.GATEWAY_TIMEOUT, 504), (FaultKind.TOO_MANY_REQUESTS, 429)),
    ],
)
def test_error_statuses_come_as_html_and_the_write_is_not_carried_out(
    world: World, kind: FaultKind, status: int
) -> None:
    row = next(world.truth.installs())
    ask = _with(world, ScriptedFault(kind))
    answer = ask("POST", f"/api/v3/installs/{row.install_id}/notes", {"note": "x"})
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=UTF-8")
    assert world.received == []
    assert ("retry-after" in answer.headers) == (status == 429)


def test_answers_of_200_that_are_no_success(world: World) -> None:
    kinds = (FaultKind.SUCCESS_FALSE, FaultKind.BARE_STRING, FaultKind.HTML_PAGE, FaultKind.TRUNCATED_JSON)
    ask = _with(world, *(ScriptedFault(kind, nth=at) for at, kind in enumerate(kinds, 1)))
    false, bare, html, torn = (ask("GET", "/api/v3/installs") for _ in kinds)
    assert {answer.status for answer in (false, bare, html, torn)} == {200}
    assert json.loads(false.body)["success"] is False
    assert json.loads(bare.body) == "Access not Permitted"
    assert html.headers["content-type"].startswith("text/html")
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn.body)


def test_a_dropped_connection_loses_the_request_and_a_lost_answer_only_the_answer(world: World) -> None:
    row = next(world.truth.installs())
    ask = _with(world, ScriptedFault(FaultKind.DROPPED), ScriptedFault(FaultKind.ANSWER_LOST, nth=2))
    before = world.truth.counts()["notes"]
    url = f"/api/v3/installs/{row.install_id}/notes"
    assert ask("POST", url, {"note": "x"}).cut is Cut.BEFORE_ANSWER
    assert world.truth.counts()["notes"] == before
    assert ask("POST", url, {"note": "x"}).cut is Cut.BEFORE_ANSWER
    assert world.truth.counts()["notes"] == before + 1


def test_a_slow_answer_and_a_cut_one_say_so(world: World) -> None:
    ask = _with(
        world, ScriptedFault(FaultKind.SLOW), ScriptedFault(FaultKind.CUT_BODY, nth=2), slow_seconds=7
    )
    assert ask("GET", "/api/v3/authcheck").delay == 7
    assert ask("GET", "/api/v3/authcheck").cut is Cut.IN_BODY


def test_a_page_shift_adds_an_install_before_the_page_is_read(world: World) -> None:
    ask = _with(world, ScriptedFault(FaultKind.PAGE_SHIFT, "/api/v3/installs", 2))
    first, second = (body_of(ask("GET", f"/api/v3/installs?page={page}")) for page in (1, 2))
    assert first["results"][-1]["id"] == second["results"][0]["id"]


def _drawn(seed: int) -> list[FaultKind | None]:
    faults = Faults({FaultKind.GATEWAY_TIMEOUT: 0.1, FaultKind.DROPPED: 0.2}, seed=seed)
    return [faults.choose(Request("GET", "/api/v3/installs")) for _ in range(1000)]


def test_drawn_faults_follow_from_the_seed_and_keep_to_their_rates() -> None:
    assert _drawn(1) == _drawn(1)
    assert _drawn(1) != _drawn(2)
    counts = Counter(_drawn(1))
    assert 60 < counts[FaultKind.GATEWAY_TIMEOUT] < 140
    assert 150 < counts[FaultKind.DROPPED] < 250


def test_a_wrong_key_meets_no_fault(world: World) -> None:
    ask = _with(world, ScriptedFault(FaultKind.SERVER_ERROR))
    assert ask("GET", "/api/v3/authcheck", key="wrong").status == 401


def test_faults_are_read_from_the_words_of_the_command_line() -> None:
    assert parse_rate("504=0.25") == (FaultKind.GATEWAY_TIMEOUT, 0.25)
    assert parse_script("dropped@/api/v3/installs/*#3-5") == ScriptedFault(
        FaultKind.DROPPED, "/api/v3/installs/*", 3, 5
    )
    for wrong in ("504", "999=0.1", "504=often"):
        with pytest.raises(ValueError, match=r"504|999|often"):
            parse_rate(wrong)
    with pytest.raises(ValueError, match="KIND@PATH#N"):
        parse_script("504@installs")
    with pytest.raises(ValueError, match="at most 1"):
        Faults({FaultKind.SLOW: 1.5})


@pytest.mark.parametrize("kind", list(BadKind))
def test_a_bad_record_stands_among_good_ones_and_out_of_the_truth(
    ask: Ask, world: World, kind: BadKind
) -> None:
    rows = list(world.truth.installs())
    world.plant_bad(rows[-2].install_id, kind)
    body = ask("GET", "/api/v3/installs?per_page=3").body
    if kind is BadKind.INVALID_UTF8:
        with pytest.raises(UnicodeDecodeError):
            body.decode()
        return
    good, bad, also_good = json.loads(body)["results"]
    assert (good["id"], also_good["id"]) == (rows[-1].install_id, rows[-3].install_id)
    expected = {
        BadKind.WRONG_TYPES: lambda: isinstance(bad["panel_count"], dict),
        BadKind.MISSING_ID: lambda: "id" not in bad,
        BadKind.ABSURD_NUMBER: lambda: bad["system_size"] == float("inf"),
        BadKind.ABSURD_DATE: lambda: bad["updated_at"] == "0000-00-00 00:00:00",
        BadKind.NUL_CHARACTER: lambda: "\0" in bad["customer"]["name"],
        BadKind.ARRAY_FOR_OBJECT: lambda: bad["customer"] == [],
        BadKind.UNKNOWN_FIELDS: lambda: "quantum_flux" in bad,
    }[kind]
    assert expected()
    assert rows[-2] not in list(world.truth.installs())
    world.mend(rows[-2].install_id)
    assert list(world.truth.installs()) == rows


def test_an_unlisted_status_and_a_note_of_5_megabytes_are_served(ask: Ask, world: World) -> None:
    row = next(world.truth.installs())
    world.set_unlisted_status(row.install_id)
    world.add_note(row.install_id, "x" * 5_000_000 + "\0")
    assert body_of(ask("GET", f"/api/v3/installs/{row.install_id}"))["status_name"] == "Awaiting Moon Phase"
    assert 99999 not in [s["id"] for s in body_of(ask("GET", "/api/v3/install-statuses"))["results"]]
    assert len(body_of(ask("GET", "/api/v3/installs/notes?pageSize=1"))["notes"][0]["note"]) == 5_000_001
