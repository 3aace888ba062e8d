"""Two people who settle one thing at the same moment: one of them does, and the other is told by whom."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.quality import run_release
from enerflo_sync.jobs.quarantine import run_dismiss
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow
Visits = Callable[..., Visitor]
Act = Callable[[AccountContext, str], None]


def at_once(*acts: Act) -> list[BaseException | None]:
    """Let people act at the same moment, and return what each was told: None for who did it."""
    from enerflo_airflow.hook import open_account

    start = Barrier(len(acts))

    def do(number: int) -> BaseException | None:
        with closing(open_account("default")) as account:
            start.wait(timeout=20)
            try:
                acts[number](account, f"person {number}")
            except (ConfigurationError, ConflictError) as error:
                return error
        return None

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(do, range(len(acts))))


def test_one_of_several_decides_about_a_plan(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    (plan,) = pat.sql("select plan_hash from sync.plans where state = 'open' and needs_approval")

    def approves(account: AccountContext, who: str) -> None:
        run_approve(account, plan["plan_hash"], by=who, undecided=True)

    def rejects(account: AccountContext, who: str) -> None:
        run_reject(account, plan["plan_hash"], by=who, reason="no", undecided=True)

    told = at_once(approves, rejects, approves, rejects)
    # A no wins also over a yes that came before it, while nothing is written.
    (winner,) = [number for number, error in enumerate(told) if error is None and number % 2]
    (row,) = pat.sql("select state, decided_by from sync.plans where plan_hash = :h", h=plan["plan_hash"])
    assert (row["state"], row["decided_by"]) == ("rejected", f"person {winner}")
    first = [number for number, error in enumerate(told) if error is None and not number % 2]
    assert len(first) <= 1
    for error in filter(None, told):
        assert any(f"already by person {number} on 20" in str(error) for number in [winner, *first])
    deciders = pat.sql("select distinct decided_by from sync.ledger where decision = 'refused'")
    assert [one["decided_by"] for one in deciders] == [f"person {winner}"]


def test_one_of_several_settles_a_group_of_held_orders(visitor: Visits) -> None:
    pat = visitor("ADMIN")
    (found,) = pat.sql(
        "select fingerprint from sync.quarantine where kind = 'change_order' and state = 'open' limit 1"
    )
    fingerprint = found["fingerprint"]

    def releases(account: AccountContext, who: str) -> None:
        run_release(account, fingerprint=fingerprint, reason="it is right", by=who)

    def dismisses(account: AccountContext, who: str) -> None:
        run_dismiss(account, fingerprint=fingerprint, reason="known", by=who)

    told = at_once(releases, dismisses, releases, dismisses)
    (winner,) = [number for number, error in enumerate(told) if error is None]
    rows = pat.sql("select state, decided_by from sync.quarantine where fingerprint = :f", f=fingerprint)
    assert {(row["state"], row["decided_by"]) for row in rows} == {
        (("replayed", "dismissed")[winner % 2], f"person {winner}")
    }
    released = pat.sql("select decided_by from sync.ledger where decision = 'released'")
    assert len(released) == (len(rows) if winner % 2 == 0 else 0)
