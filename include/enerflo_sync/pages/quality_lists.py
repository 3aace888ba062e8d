"""Orders that fail checks, and findings in life cycles, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from string import Template
from typing import Any, Final

import sqlalchemy as sa

from enerflo_sync.quality.life_cycle.store import FINDINGS, finding_of
from enerflo_sync.quality.report import CheckCount, Finding
from enerflo_sync.quality.suite import Suite

PAGE: Final = 50
# Checks that change_orders.yaml no longer has come last.
_LAST: Final = 10_000


class OrderState(StrEnum):
    """The state of an order that fails a check."""

    HELD = "held"
    WARNED = "warned"
    RELEASED = "released"
    DISMISSED = "dismissed"


STATE_LABELS: Final[Mapping[OrderState, str]] = {
    OrderState.HELD: "held back",
    OrderState.WARNED: "warned only",
    OrderState.RELEASED: "let through",
    OrderState.DISMISSED: "dismissed",
}


@dataclass(frozen=True)
class OrderLine:
    """One check that one order fails.

    :param item_id: the quarantined item with the order; None if there is none.
    """

    change_order_id: int
    install_id: int | None
    found: Any
    expected: Any
    state: OrderState
    item_id: str | None
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None

    @property
    def can_be_released(self) -> bool:
        """Return whether a person may let the order through."""
        return self.item_id is not None and self.state in (OrderState.HELD, OrderState.DISMISSED)


@dataclass(frozen=True)
class FailedLines:
    """The orders of a page that fail one check.

    :param count: the check and what to do about it; None for a check that the suite no longer has.
    :param reason: why the orders fail.
    """

    check: str
    severity: str
    reason: str
    count: CheckCount | None
    lines: Sequence[OrderLine]


@dataclass(frozen=True)
class OrdersPage:
    """One page of orders that fail checks.

    :param orders: how many orders match; :param lines: how many failures they have together.
    :param after: the position of the next page; None on the last one.
    """

    groups: Sequence[FailedLines]
    orders: int
    lines: int
    after: str | None

    @property
    def can_release(self) -> bool:
        """Return whether the page has an order that a person may let through."""
        return any(line.can_be_released for group in self.groups for line in group.lines)


@dataclass(frozen=True)
class FindingsPage:
    """One page of findings, the newest first; ``after`` is the position of the next page."""

    findings: Sequence[Finding]
    after: str | None


_STATE = """case when f.item_id is null then 'warned' when q.state = 'open' then 'held'
  when q.state = 'dismissed' then 'dismissed' else 'released' end"""
_ITEM = "join sync.quarantine q on q.account = f.account and q.item_id = f.item_id"
_OF_STATE: Final[Mapping[OrderState, str]] = {
    OrderState.HELD: "q.state = 'open'",
    OrderState.WARNED: "f.item_id is null",
    OrderState.RELEASED: "q.state not in ('open', 'dismissed')",
    OrderState.DISMISSED: "q.state = 'dismissed'",
}

# Only the keys are sorted; the other columns are looked up for the page's own lines.
_LINES = Template(f"""
/* enerflo-sync pages: orders that fail checks, by check */
select f.change_order_id, f.install_id, f.item_id, k.check_id, q.decided_by, q.decided_at, q.decision_reason,
  {_STATE} as state, r.severity, r.reason, r.expected, r.found
from (
  select f.account, f.change_order_id, u.check_id, coalesce(c.rank, {_LAST}) as rank
  from sync.change_order_facts f $item
  cross join lateral unnest(f.failing) u (check_id)
  left join unnest(cast(:checks as text[])) with ordinality c (check_id, rank) using (check_id)
  where $where and (cast(:check as text) is null or u.check_id = :check)
    and (coalesce(c.rank, {_LAST}), u.check_id, f.change_order_id) > (:after_rank, :after_check, :after_order)
  order by rank, u.check_id, f.change_order_id limit :most
) k
join sync.change_order_facts f on f.account = k.account and f.change_order_id = k.change_order_id
left {_ITEM}
left join sync.quality_results r on r.account = f.account and r.run_id = f.run_id
  and r.change_order_id = f.change_order_id and r.check_id = k.check_id and not r.passed
order by k.rank, k.check_id, k.change_order_id
""")  # noqa: S608 - constants

_COUNT = Template("""
/* enerflo-sync pages: how many orders fail which checks */
select count(*) as orders,
  coalesce(sum(case when cast(:check as text) is null then cardinality(f.failing) else 1 end), 0) as lines
from sync.change_order_facts f $item where $where
""")

_FOUND = sa.text(f"""
/* enerflo-sync pages: open findings of a check, newest first */
{FINDINGS} and f.resolved_at is null and f.finding_id < :before
  and (cast(:check as text) is null or f.check_id = :check)
order by f.finding_id desc limit :most
""")


def read_orders(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    checks: Sequence[CheckCount],
    *,
    check: str | None,
    state: OrderState | None,
    after: tuple[str, int] | None,
) -> OrdersPage:
    """Return a page of the orders that fail, by check in the order of the suite.

    :param after: the check and the order after which the page begins.
    """
    names = list(suite.checks)
    values: dict[str, Any] = {"account": account, "checks": names, "check": check}
    parts = {"item": "", "where": "f.account = :account and f.failing <> '{}'"}
    if check is not None:
        parts["where"] += " and f.failing @> array[cast(:check as text)]"
    if state is not None:
        parts["item"] = "" if state is OrderState.WARNED else _ITEM
        parts["where"] += f" and {_OF_STATE[state]}"
    counted = connection.execute(sa.text(_COUNT.substitute(parts)), values).one()
    last_check, last_order = after or ("", 0)
    rank = names.index(last_check) + 1 if last_check in names else _LAST
    values |= {
        "after_rank": rank if after else 0,
        "after_check": last_check,
        "after_order": last_order,
        "most": PAGE + 1,
    }
    rows = connection.execute(sa.text(_LINES.substitute(parts)), values).all()
    shown, last = rows[:PAGE], rows[PAGE - 1] if len(rows) > PAGE else None
    return OrdersPage(
        groups=list(_groups(shown, {one.check: one for one in checks})),
        orders=counted.orders,
        lines=counted.lines,
        after=None if last is None else f"{last.check_id}/{last.change_order_id}",
    )


def _groups(rows: Sequence[Any], checks: Mapping[str, CheckCount]) -> Iterator[FailedLines]:
    for check, found in groupby(rows, key=lambda row: row.check_id):
        several = list(found)
        yield FailedLines(
            check=check,
            severity=several[0].severity or "",
            reason=several[0].reason or "",
            count=checks.get(check),
            lines=[_line(row) for row in several],
        )


def _line(row: Any) -> OrderLine:
    told = row._mapping
    names = [name for name in OrderLine.__dataclass_fields__ if name != "state"]
    return OrderLine(**{name: told[name] for name in names}, state=OrderState(row.state))


def read_findings(
    connection: sa.Connection, account: str, *, check: str | None, before: int | None
) -> FindingsPage:
    """Return a page of the open findings, the newest first.

    :param before: the finding after which the page begins.
    """
    values = {"account": account, "check": check, "before": before or 2**63 - 1, "most": PAGE + 1}
    rows = connection.execute(_FOUND, values).all()
    shown = [finding_of(row) for row in rows[:PAGE]]
    return FindingsPage(shown, str(shown[-1].finding_id) if len(rows) > PAGE else None)
