"""Kills: a process of its own that dies before any request and any commit, and is run again."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import requests

from enerflo_sandbox.server import SandboxServer
from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.writes.push.conftest import NewOutbox, Outbox

KILLED = 9
EACH = 8


class Death:
    """Ends this process before the n-th request or commit: after the one before it, as far as others see."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def at_each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            self.steps += 1
            if self.steps == self.at:
                os._exit(KILLED)
            return function(*args, **named)

        return step

    def lie_in_wait(self) -> None:
        for owner, name in ((psycopg.Connection, "commit"), (requests.Session, "send")):
            setattr(owner, name, self.at_each(getattr(owner, name)))


def in_a_process_that_dies(outbox: Outbox, death: Death, address: str) -> bool:
    """Push in a forked process, against the company's own server; return whether it was killed on the way."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            url = outbox.company.warehouse.url.render_as_string(hide_password=False)
            outbox.company.warehouse = warehouse_engine(url)
            clock, rng, key = outbox.company.clock, random.Random(1), outbox.key
            client = EnerfloClient(
                requests.Session(), address, key, budget=UnlimitedBudget(), clock=clock, rng=rng
            )
            outbox.company.client = lambda *_: client  # type: ignore[method-assign]
            death.lie_in_wait()
            outbox.push()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    the_server_knows_of_its_death(outbox)
    return code == KILLED


def the_server_knows_of_its_death(outbox: Outbox) -> None:
    """Wait until the dead process's session has given back its lock, which is a moment after its death."""
    held = "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
    held += " where locktype = 'advisory' and d.datname = current_database()"
    until = time.monotonic() + 60
    while outbox.one(held):
        assert time.monotonic() < until, "the session of a dead process still holds its lock"
        time.sleep(0.01)


def plan_of_everything(outbox: Outbox, number: int) -> None:
    """A status, a date, two notes of one text and a lead with an appointment, new in each round."""
    outbox.plan_hash = f"p{number}"
    install = outbox.install(number % 3)
    outbox.status(install, "On Hold" if install.status_name != "On Hold" else "Completed")
    row = outbox.milestones(install.install_id)[0]
    outbox.milestone(row, "due_at", f"2026-03-{1 + number % 28:02}T10:00:{number % 60:02}Z")
    for name in ("a", "b"):
        outbox.note(f"N{number}{name}", install.install_id, f"Text {number}")
    outbox.lead(f"L{number}", last_name=f"Doe {number}", appointment=f"2026-03-05T{number % 24:02}:00:00Z")


def test_a_kill_at_any_request_or_commit_neither_loses_a_write_nor_repeats_one(new_outbox: NewOutbox) -> None:
    outbox = new_outbox(writes={"appointment": {"type": 3, "start": "appointment_at"}})
    number, killed = 0, True
    with SandboxServer(outbox.api) as server:
        while killed:
            number += 1
            plan_of_everything(outbox, number)
            killed = in_a_process_that_dies(outbox, Death(number), server.url)
            outbox.company.clock.advance(60)
            report = outbox.push()
            states = outbox.rows("select state, count(*) from sync.plan_changes group by 1")
            assert states == [("applied", (EACH + 10) * number)], f"killed at step {number}"
            assert report.waiting == 0
    assert number > 25
    posts = [(one.path, str(one.body)) for one in outbox.received("POST")]
    notes = [body for path, body in posts if path.endswith("/notes")]
    assert sorted(notes) == sorted(
        [str({"note": f"Text {at}\n\nAnn (CRM)"}) for at in range(1, number + 1)] * 2
    )
    leads = [body for path, body in posts if path.endswith("/lead/add")]
    assert len(leads) == len(set(leads)) == number
    assert len(outbox.world.appointments) == number
    assert outbox.one("select count(*) from sync.ledger") == (EACH + 10) * number
    unlinked = "select count(*) from crm.leads where last_name like 'Doe %' and enerflo_customer_id is null"
    assert outbox.one(unlinked) == 0
    linked = outbox.rows("select enerflo_note_id from crm.notes where note_id like 'N%'")
    assert len({one for (one,) in linked if one}) == 2 * number


def plan_of_the_other_writes(outbox: Outbox, number: int, install_id: int) -> int:
    """A last milestone that completes its install, or is opened again with it; a customer; a lead of ours.

    Returns how many changes it has.
    """
    outbox.plan_hash = f"o{number}"
    install = next(one for one in outbox.world.truth.installs() if one.install_id == install_id)
    first, last = (outbox.milestones(install_id)[at] for at in (0, -1))
    if number % 2:
        outbox.milestone(last, "completed_at", f"2026-03-{1 + number % 28:02}T10:00:{number % 60:02}Z")
        outbox.status(install, "Completed", rule="last_milestone")
    else:
        outbox.milestone(last, "completed_at", None)
        outbox.status(install, "On Hold")
    outbox.milestone(first, "completed_at", f"2026-02-{1 + number % 28:02}T10:00:{number % 60:02}Z")
    customer = next(one for one in outbox.world.truth.customers() if one.customer_id == install.customer_id)
    outbox.lead_change("X", customer, "city", f"Town {number}")
    outbox.lead_change("X", customer, "mobile", f"+1 (512) 555-{number:04}")
    outbox.lead_change("OURS", outbox.customer("OURS"), "city", f"Village {number}")
    return 6


def test_a_kill_at_any_step_of_the_other_writes_neither_loses_nor_repeats_one(new_outbox: NewOutbox) -> None:
    """Completions, milestones that are opened again, statuses, a customer's fields, a lead of ours."""
    outbox = new_outbox()
    outbox.plan_hash = "first"
    outbox.lead("OURS")
    outbox.push()
    made, before = outbox.one("select count(*) from sync.plan_changes"), len(outbox.received())
    install_id = next(
        one.install_id for one in outbox.world.truth.installs() if one.status_name == "In progress"
    )
    number, killed = 0, True
    with SandboxServer(outbox.api) as server:
        while killed:
            number += 1
            made += plan_of_the_other_writes(outbox, number, install_id)
            killed = in_a_process_that_dies(outbox, Death(number), server.url)
            outbox.company.clock.advance(60)
            report = outbox.push()
            states = outbox.rows("select state, count(*) from sync.plan_changes group by 1")
            assert states == [("applied", made)], f"killed at step {number}"
            assert report.waiting == 0
            after = outbox.world.truth.install(install_id)
            last = outbox.milestones(install_id)[-1]
            assert after is not None
            assert (after.status_name, last.completed_at is not None) == (
                ("Completed", True) if number % 2 else ("On Hold", False)
            )
            customer = next(
                one for one in outbox.world.truth.customers() if one.customer_id == after.customer_id
            )
            assert (customer.city, outbox.customer("OURS").city) == (f"Town {number}", f"Village {number}")
    assert number > 20
    # Two milestones, a status, a customer and a lead in each round.
    sent = [(one.method, one.path, str(one.body)) for one in outbox.received()[before:]]
    paths = Counter(path for _, path, _ in sent)
    assert sorted(paths.values()) == [number] * 5
    assert sum(count for path, count in paths.items() if "/milestones/" in path) == 2 * number
    assert len(set(sent)) > 3 * number
    assert outbox.one("select count(*) from sync.ledger") == made
