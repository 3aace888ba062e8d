"""Hostile values in what is stored cost a rebuild one record each: the others are derived again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Request, Response
from enerflo_sync.rebuild import records
from enerflo_sync.rebuild.report import RebuildReport
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.warehouse.runs import RunState
from tests.inbox.conftest import Inbox, NewInbox, sample
from tests.mirror.hostile import FIELDS, VALUES, with_value
from tests.rebuild.conftest import SEEN, damage, run_rebuild, snapshot

# PostgreSQL itself refuses JSON that nests 100,000 levels, at every stack that it can have.
DEEPEST = b"[" * 30_000 + b"]" * 30_000
STORED_VALUES = {**VALUES, "depth of 30,000": DEEPEST}


def store(company: Inbox, statement: str, **values: Any) -> bool:
    """Store a hostile value as an earlier version may have stored it; False where PostgreSQL cannot hold it."""
    try:
        with company.warehouse.begin() as connection:
            connection.exec_driver_sql("set local max_stack_depth = '7MB'")
            return connection.execute(sa.text(statement), values).rowcount > 0
    except sa.exc.DBAPIError:
        return False


def named(report: RebuildReport, key: str) -> set[Any]:
    """The records that the report names, of those of which it samples keys."""
    return {one[key] for group in report.unreadable for one in group.keys if key in one}


def unread(report: RebuildReport) -> int:
    return sum(group.records for group in report.unreadable)


def plant_versions(company: Inbox, field: str) -> set[int]:
    """Put a hostile value into the version that an install's row names, of one install per value."""
    installs = company.rows(
        "select i.install_id, v.raw from enerflo.installs i join enerflo.install_versions v"
        " using (account, install_id, content_hash) where i.deleted_at is null order by 1"
    )
    victims = iter(installs)
    planted = set()
    for value in STORED_VALUES.values():
        install_id, raw = next(victims)
        if store(
            company,
            "update enerflo.install_versions v set raw = cast(:raw as jsonb) from enerflo.installs i"
            " where v.install_id = i.install_id and v.content_hash = i.content_hash and i.install_id = :i",
            raw=with_value(raw, field, value).decode("utf-8", "surrogatepass"),
            i=install_id,
        ):
            planted.add(install_id)
    return planted


@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_value_in_a_stored_version_costs_one_install(polled_30: Inbox, field: str) -> None:
    victims = plant_versions(polled_30, field)
    assert len(victims) >= 14
    damage(polled_30, "update enerflo.installs set agent_name = 'Nonsense'")
    report = run_rebuild(polled_30)
    still = {
        one
        for (one,) in polled_30.rows("select install_id from enerflo.installs where agent_name = 'Nonsense'")
    }
    assert still <= victims
    quarantined = polled_30.rows(
        "select (key ->> 'install_id')::int, reason, state, kind from sync.quarantine"
    )
    assert {one for one, *_ in quarantined} == still
    assert all(
        (state, kind) == ("open", "record") and len(reason) < 80 for _, reason, state, kind in quarantined
    )
    assert unread(report) == len(still)
    assert report.state is (RunState.PARTIAL if still else RunState.OK)
    # What Enerflo says now is read by the next poll.
    polled_30.company.poll()
    assert polled_30.one("select count(*) from enerflo.installs where agent_name = 'Nonsense'") == 0
    assert polled_30.one("select count(*) from sync.quarantine where state = 'open'") == 0


@pytest.fixture
def polled_30(new_inbox: NewInbox) -> Inbox:
    """A company of thirty installs, all of them in the mirror."""
    company = new_inbox(30)
    company.company.poll()
    return company


@pytest.fixture
def told(new_inbox: NewInbox) -> Inbox:
    """A company whose designs, customers and change orders stand in the mirror as events told them.

    Its key may not read customers and change orders.
    """
    company = new_inbox(26)
    real = company.api._route

    def route(request: Request, asked: str, key: str) -> Response:
        if asked.startswith("/api/v3/customers") or asked.endswith("/change-order-data"):
            return Response(
                404 if "order" in asked else 403, {}, b'{"message":"This action is unauthorized."}'
            )
        return real(request, asked, key)

    company.api._route = route  # type: ignore[method-assign]
    for body in _bodies(company):
        company.drop(body)
    company.ingest()
    counts = {name: company.one(f"select count(*) from enerflo.{name}") for name in _TABLES}
    assert counts == dict.fromkeys(_TABLES, 26)
    return company


_TABLES = {
    "submissions": "panel_count = 1",
    "customers": "email = 'else@example.com'",
    "change_orders": "status = 'lost'",
}
_PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "submissions": (
        *((), ("x",), ("payload",), ("payload", "deal", "id"), ("payload", "proposal")),
        ("payload", "proposal", "pricingOutputs", "grossCost"),
        ("payload", "proposal", "pricingOutputs", "calculatedSystemAdders"),
        ("payload", "proposal", "pricingOutputs", "deal", "projectAddress", "postalCode"),
    ),
    "customers": ((), ("id",), ("x",), ("email",), ("address",), ("timestamps",), ("first_name",)),
    "change_orders": (
        *((), ("id",), ("x",), ("change_orders",), ("change_orders", "0")),
        *(("change_orders", "0", name) for name in ("x", "change_values", "status", "updated_at")),
    ),
}
_EVENTS = {
    "submissions": "deal.projectSubmitted",
    "customers": "new_customer",
    "change_orders": "signed_change_order",
}


def _bodies(company: Inbox) -> Iterator[dict[str, Any]]:
    for number in range(26):
        install_id = company.world.install_id(number)
        design = sample("deal.projectSubmitted")
        design["payload"]["deal"]["id"] = company.world.installs.get(number).deal_id
        yield design
        yield {**sample("new_customer"), "id": 900_000 + number}
        order = {"id": 987_000 + number, "status": "signed", "change_values": {}}
        yield {"webhook_event": "signed_change_order", "id": install_id, "change_orders": [order]}


def with_value_at(body: Any, path: tuple[str, ...], value: bytes) -> bytes:
    """A body's JSON with this text at a path."""
    mark = "the value that stands here is replaced"
    body = json.loads(json.dumps(body))
    if not path:
        return value
    place = body
    for name in path[:-1]:
        place = place[int(name) if isinstance(place, list) else name]
    place[int(path[-1]) if isinstance(place, list) else path[-1]] = mark
    return json.dumps(body).encode().replace(json.dumps(mark).encode(), value)


def plant_events(company: Inbox, table: str, path: tuple[str, ...]) -> set[str]:
    """Put a hostile value into the stored event of one record per value; return their events."""
    found = company.rows(
        "select event_id, body from sync.webhook_events where event = :e order by 1", e=_EVENTS[table]
    )
    victims = iter(found)
    planted = set()
    for value in STORED_VALUES.values():
        event_id, body = next(victims)
        if store(
            company,
            "update sync.webhook_events set body = cast(:body as json) where event_id = :e",
            body=with_value_at(body, path, value).decode("utf-8", "surrogatepass"),
            e=event_id,
        ):
            planted.add(event_id)
    return planted


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("table", _TABLES)
def test_a_hostile_value_in_a_stored_event_costs_that_event(told: Inbox, table: str, lost: bool) -> None:
    key = {"submissions": "deal_id", "customers": "customer_id", "change_orders": "change_order_id"}[table]
    owners = told.rows(
        f"select e.event_id, t.{key} from enerflo.{table} t join sync.webhook_events e on e.event = :e"
        f" and t.{key}::text in (e.deal_id, e.body ->> 'id', e.body #>> '{{change_orders,0,id}}')",
        e=_EVENTS[table],
    )
    assert len(owners) == 26
    bodies = told.rows("select event_id, body::text from sync.webhook_events")
    before = snapshot(told, SEEN)[table]
    for path in _PATHS[table]:
        victims = plant_events(told, table, path)
        assert len(victims) >= 15
        wrong = _TABLES[table]
        damage(told, f"delete from enerflo.{table}" if lost else f"update enerflo.{table} set {wrong}")
        report = run_rebuild(told)
        assert report.state in (RunState.OK, RunState.PARTIAL)
        spared = {owner for event, owner in owners if event not in victims}
        rows = {row for row in before if set(row) & set(map(str, spared))}
        assert len(rows) == len(spared)
        assert rows <= snapshot(told, SEEN)[table], (table, path)
        restored = told.one(f"select count(*) from enerflo.{table} t where ({wrong}) is not true")
        left = sum(report.left.get(table, {}).values())
        if table != "change_orders" or len(path) > 2:
            # An event that lists no order says nothing of one.
            assert restored + unread(report) + left >= 26, (table, path)
        assert named(report, "event_id") <= victims
        for event_id, body in bodies:
            damage(told, "update sync.webhook_events set body = :b where event_id = :e", b=body, e=event_id)
        damage(told, f"delete from enerflo.{table}")
        run_rebuild(told)
        assert snapshot(told, SEEN)[table] == before
        damage(told, "delete from sync.quarantine")


@pytest.mark.parametrize("kind", [ValueError, UnicodeEncodeError, OverflowError, RecursionError])
def test_a_row_that_cannot_be_written_out_costs_one_install(
    polled_30: Inbox, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading is not all that can fail: comparing and writing are the record's, too."""
    damage(polled_30, "update enerflo.installs set agent_name = 'Nonsense'")
    (victim,) = polled_30.rows("select min(install_id) from enerflo.installs")[0]
    errors: dict[type[Exception], Callable[[], Exception]] = {
        UnicodeEncodeError: lambda: UnicodeEncodeError("utf-8", "Ada", 0, 1, "surrogates not allowed")
    }
    real = records._lines

    def lines(rows: Any) -> list[bytes]:
        if any(row[0] == victim for row in rows):
            raise errors.get(kind, kind)()
        return real(rows)

    monkeypatch.setattr(records, "_lines", lines)
    report = run_rebuild(polled_30, tables=[RebuildTable.INSTALLS])
    reason = "nested_too_deep" if kind is RecursionError else f"unreadable: {kind.__name__}"
    assert [(group.reason, group.keys) for group in report.unreadable] == [(reason, [{"install_id": victim}])]
    assert polled_30.rows("select install_id from enerflo.installs where agent_name = 'Nonsense'") == [
        (victim,)
    ]
