"""Answers of 200 that say less, older or other things than the company has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sandbox.world import World

from .conftest import Ask, asking, body_of

INSTALLS = "/api/v3/installs"


def _statuses(ask: Ask) -> dict[int, int]:
    return {row["id"]: row["status_id"] for row in body_of(ask("GET", f"{INSTALLS}?per_page=500"))["results"]}


def _pass(world: World, seconds: float) -> None:
    world.step(minutes=seconds / 60, events=0)


def test_a_lagging_list_shows_what_was_and_a_direct_read_what_is(world: World) -> None:
    ask = asking(SandboxApi(world, list_lag=300))
    before = _statuses(ask)
    changed, deleted = list(before)[3], list(before)[4]
    _pass(world, 60)
    world.set_status(changed, c.VOIDED)
    world.delete_install(deleted)
    new = world.create_install()
    assert _statuses(ask) == before
    assert body_of(ask("GET", INSTALLS))["total"] == len(before)
    assert body_of(ask("GET", f"{INSTALLS}/{changed}"))["status_id"] == c.VOIDED
    assert ask("GET", f"{INSTALLS}/{deleted}").status == 404
    _pass(world, 299)
    assert _statuses(ask) == before
    _pass(world, 2)
    after = _statuses(ask)
    assert after[changed] == c.VOIDED
    assert after.keys() ^ before.keys() == {deleted, new}
    assert next(iter(after)) == new


def test_a_lagging_list_goes_through_every_version_and_its_customers_too(world: World) -> None:
    api = SandboxApi(world, list_lag=100)
    ask = asking(api)
    row = next(world.truth.installs())
    before = _statuses(ask)[row.install_id]
    for status in (c.VOIDED, c.IN_PROGRESS):
        world.set_status(row.install_id, status)
        _pass(world, 60)
    assert _statuses(ask)[row.install_id] == c.VOIDED != before
    customer = world.installs.get(world.number_of(row.install_id)).customer_id
    world.edit_customer(customer, {"first_name": "Zo\u00eb"})

    def name() -> Any:
        rows = body_of(ask("GET", f"{INSTALLS}?per_page=500"))["results"]
        return next(one["customer"]["first_name"] for one in rows if one["id"] == row.install_id)

    assert name() != "Zo\u00eb"
    api.lag_list(0)
    assert name() == "Zo\u00eb"


@pytest.mark.parametrize(
    ("kind", "rows"), [(FaultKind.EMPTY_PAGE, 0), (FaultKind.SHORT_PAGE, 12)], ids=["empty", "short"]
)
def test_a_page_may_lack_rows_and_the_total_stays(world: World, kind: FaultKind, rows: int) -> None:
    ask = asking(SandboxApi(world, faults=Faults(script=[ScriptedFault(kind, "/api/*", 1, 3)])))
    installs = body_of(ask("GET", INSTALLS))
    assert (len(installs["results"]), installs["total"]) == (rows, 120)
    customers = body_of(ask("GET", "/api/v1/customers"))
    assert (len(customers["data"]), customers["dataCount"]) == (rows, 144)
    row = next(world.truth.installs())
    assert body_of(ask("GET", f"{INSTALLS}/{row.install_id}"))["id"] == row.install_id
    assert len(body_of(ask("GET", INSTALLS))["results"]) == 25


def test_another_company_has_other_ids_everywhere_and_knows_none_of_ours(world: World) -> None:
    faults = Faults(script=[ScriptedFault(FaultKind.OTHER_COMPANY, nth=2, last=100)])
    api = SandboxApi(world, faults=faults)
    ask = asking(api)
    ours = _statuses(ask)
    theirs = body_of(ask("GET", f"{INSTALLS}?per_page=500"))["results"]
    assert len(theirs) == len(ours)
    assert not {row["id"] for row in theirs} & ours.keys()
    assert {row["company_id"] for row in theirs} == {c.COMPANY_ID + 50_000_000}
    assert body_of(ask("GET", f"{INSTALLS}/{theirs[0]['id']}"))["id"] == theirs[0]["id"]
    assert ask("GET", f"{INSTALLS}/{next(iter(ours))}").status == 404
    assert ask("PUT", f"{INSTALLS}/{next(iter(ours))}", {"status_id": c.VOIDED}).status == 404
    assert world.received == []
    assert len(api.other_company.world.received) == 1


def test_a_key_may_be_refused_everything_and_a_record_denied(world: World) -> None:
    script = [ScriptedFault(FaultKind.FORBIDDEN), ScriptedFault(FaultKind.NOT_FOUND, nth=2)]
    ask = asking(SandboxApi(world, faults=Faults(script=script)))
    assert [ask("GET", INSTALLS).status for _ in range(3)] == [403, 404, 200]


def test_nothing_of_this_happens_unasked(world: World) -> None:
    ask = asking(SandboxApi(world))
    world.set_status(next(world.truth.installs()).install_id, c.VOIDED)
    world.step(minutes=timedelta(hours=1).total_seconds() / 60)
    rows = body_of(ask("GET", f"{INSTALLS}?per_page=500"))["results"]
    assert {row["id"]: row["status_id"] for row in rows} == {
        truth.install_id: truth.status_id for truth in world.truth.installs()
    }
