"""Which events, items and sentences are a customer's: each way to know it, beside a stranger's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.submission import ERASED
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.retention.forget import ForgetReport, forget
from enerflo_sync.retention.forget_documents import Values, documents_of, erase_documents, values_of
from tests.retention.rows import NOW, put, rows_of

ACCOUNT = "one"
CUSTOMER_UUID, DEAL = "1" * 8 + "-0000-0000-0000-" + "1" * 12, "2" * 8 + "-0000-0000-0000-" + "2" * 12
WHO = Forgotten(frozenset({7}), frozenset({70}), frozenset({CUSTOMER_UUID, DEAL}))
EMAIL, NAME = "ann@canary.example", "Ann Canary"
VALUES = Values(
    frozenset({EMAIL, "555-0199"}), frozenset({NAME, "1 Canary Street", "1 Canary Street, Canaryville"})
)


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        yield opened


def test_by_what_a_customer_is_known(connection: sa.Connection) -> None:
    seen = {"account": ACCOUNT, "observed_at": NOW}
    person = {
        "first_name": "Ann",
        "last_name": "Canary",
        "email": " ann@c.x ",
        "mobile": "555019",
        "address": "1 Road",
    }
    put(connection, "enerflo.customers", **seen, customer_id=7, **person)
    for account, number in ((ACCOUNT, 8), ("other", 7)):
        stranger = {name: f"{value} stranger" for name, value in person.items()}
        put(connection, "enerflo.customers", account=account, observed_at=NOW, customer_id=number, **stranger)
    for account, install, customer, name in (
        *((ACCOUNT, 70, None, "A. Canary"), (ACCOUNT, 71, 7, "Mrs Canary"), (ACCOUNT, 72, 8, "a stranger")),
        *((ACCOUNT, 73, 7, "short"), ("other", 70, 7, "another stranger")),
    ):
        row = {"observed_at": NOW, "install_id": install, "customer_id": customer, "customer_name": name}
        put(connection, "enerflo.installs", account=account, **row)
    for account, deal, install, street in (
        *((ACCOUNT, DEAL, None, "2 Deal Street"), (ACCOUNT, "x", 70, "3 Install Street")),
        *((ACCOUNT, "y", 72, "a stranger's street"), ("other", DEAL, 70, "another street")),
    ):
        row = {"deal_id": deal, "install_id": install, "street": street}
        put(connection, "enerflo.submissions", account=account, **row)
    for account, install, name in (
        (ACCOUNT, 70, "Former Canary"),
        (ACCOUNT, 72, "x" * 9),
        ("other", 70, "y" * 9),
    ):
        raw = {"id": install, "customer": {"name": name}, "customer_name": name, "agent_name": "An agent"}
        put(
            connection,
            "enerflo.install_versions",
            account=account,
            install_id=install,
            content_hash=name,
            raw=raw,
        )
    told = [
        ("email", "a@c.de"),
        ("mobile", "12345"),
        ("customer_name", "  Old Canary "),
        ("panel_count", "1234567"),
    ]
    found = values_of(connection, ACCOUNT, WHO, told)
    assert found.reached_at == {"ann@c.x", "555019", "a@c.de"}
    assert found.named_by == {
        *("1 Road", "Ann Canary", "A. Canary", "Mrs Canary", "Former Canary"),
        *("2 Deal Street", "3 Install Street", "Old Canary"),
    }


def event(name: str, **values: Any) -> dict[str, Any]:
    return {
        "account": ACCOUNT,
        "event_id": name,
        "event": "x",
        "state": "applied",
        "body": {"n": 1},
        **values,
    }


THEIRS = {
    "by the install": {"install_id": 70},
    "by the deal": {"deal_id": DEAL},
    "by what it asks for": {"record": "customers/7"},
    "by the uuid that it asks for": {"record": f"customers/{CUSTOMER_UUID}"},
    "by the install that it asks for": {"record": "installs/70"},
    "by the e-mail": {"body": {"contact": f"write to {EMAIL}!"}},
    "by the phone": {"body": {"call": "555-0199"}},
    "by a customer within": {"body": {"deep": [{"customer_id": 7}]}},
    "by an install within": {"body": {"deep": [{"install": {"install_id": 70}}]}},
    "by a uuid within": {"body": {"who": DEAL}},
}
STRANGERS = {
    "another install": {"install_id": 71, "record": "installs/71"},
    "another deal": {"deal_id": "3" * 36},
    "another customer": {"record": "customers/70"},
    "another's install": {"record": "installs/7"},
    "a name that others have": {"body": {"who": NAME}},
    "a number of something else": {"body": {"panels": 70, "order_id": 7}},
    "a customer with the install's number": {"body": {"customer_id": 70}},
}


def test_which_events_are_a_customers(connection: sa.Connection) -> None:
    for name, values in (*THEIRS.items(), *STRANGERS.items()):
        put(connection, "sync.webhook_events", **event(name, **values))
        put(connection, "sync.webhook_events", **event(name, **values) | {"account": "other"})
    put(connection, "sync.webhook_events", **event("empty", install_id=70, body=None))
    put(connection, "sync.webhook_events", **event("erased", install_id=70, body={"n": 1, ERASED: {}}))
    found = documents_of(connection, ACCOUNT, WHO, VALUES)
    assert {row["event_id"] for row in found.events} == {*THEIRS, "erased"}
    # A uuid by which an event names a customer names other events, too.
    assert found.uuids == {CUSTOMER_UUID}
    counted = dict(erase_documents(connection, ACCOUNT, WHO, found))
    assert counted["sync.webhook_events"] == len(THEIRS)
    bodies = connection.execute(
        sa.text("select account, event_id, body::text from sync.webhook_events")
    ).all()
    assert {(account, name) for account, name, body in bodies if body and ERASED in body} == {
        (ACCOUNT, name) for name in (*THEIRS, "erased")
    }


def test_an_event_says_by_which_uuid_it_names_the_customer(connection: sa.Connection) -> None:
    named = {
        "digits": {"record": "customers/7", "install_id": 70},
        "uuid": {"record": "customers/abc", "install_id": 70},
        "install": {"record": "installs/70", "install_id": 70},
        "within": {"install_id": 70, "body": {"payload": {"customer": {"id": "ABC-D"}}}},
        "number": {"install_id": 70, "body": {"payload": {"customer": {"id": 7}}}},
        "nothing": {"install_id": 70},
    }
    for name, values in named.items():
        put(connection, "sync.webhook_events", **event(name, **values))
    assert documents_of(connection, ACCOUNT, WHO, VALUES).uuids == {"abc", "abc-d"}


def item(name: str, **values: Any) -> dict[str, Any]:
    row = {"account": ACCOUNT, "item_id": name, "state": "open", "key": {"x": 1}, "payload": b"{}"}
    return {**row, **values}


ITEMS = {
    "by its event": {"key": {"event_id": "theirs"}},
    "by the customer": {"table_name": "customers", "key": {"customer_id": 7}},
    "by the install": {"key": {"install_id": 70}},
    "by the note's install": {"key": {"note_id": 1}},
    "by the order's install": {"key": {"change_order_id": 1}},
    "by the e-mail": {"payload": b"\x00" + EMAIL.encode() + b"\xff"},
    "by an id within": {"kind": "record", "key": None, "payload": b'\xff{"id": 70, "note": "x"}'},
    "replayed": {"key": {"install_id": 70}, "state": "replayed"},
}
OTHER_ITEMS = {
    "another event": {"key": {"event_id": "stranger"}},
    "another customer": {"table_name": "customers", "key": {"customer_id": 8}},
    "a customer's number of another table": {"table_name": "x", "key": {"customer_id": 7}},
    "another install": {"key": {"install_id": 7}},
    "another note": {"key": {"note_id": 2}},
    "another order": {"key": {"change_order_id": 2}},
    "a name that others have": {"payload": NAME.encode()},
    "an id within a longer number": {"kind": "record", "key": None, "payload": b'{"id": 1705}'},
    "their id in another's note": {
        "kind": "record",
        "key": {"note_id": 2},
        "payload": b'{"note": "as in 70"}',
    },
}


def test_which_items_in_quarantine_are_a_customers(connection: sa.Connection) -> None:
    for name, values in (*ITEMS.items(), *OTHER_ITEMS.items()):
        put(connection, "sync.quarantine", **item(name, **values))
        put(connection, "sync.quarantine", **item(name, **values) | {"account": "other"})
    put(connection, "sync.quarantine", **item("empty", key={"install_id": 70}, payload=b""))
    put(connection, "sync.quarantine", **item("without", key={"install_id": 70}, payload=None))
    seen = {"observed_at": NOW}
    for account, number, install in ((ACCOUNT, 1, 70), (ACCOUNT, 2, 71), ("other", 2, 70)):
        row = {"account": account, "install_id": install, **seen}
        put(connection, "enerflo.notes", **row, note_id=number)
        put(connection, "enerflo.change_orders", **row, change_order_id=number)
    put(connection, "sync.webhook_events", **event("theirs", install_id=70))
    put(connection, "sync.webhook_events", **event("stranger"))
    found = documents_of(connection, ACCOUNT, WHO, VALUES)
    assert dict(erase_documents(connection, ACCOUNT, WHO, found))["sync.quarantine"] == len(ITEMS)
    left = connection.execute(
        sa.text("select account, item_id from sync.quarantine where payload is not null")
    )
    assert {tuple(row) for row in left} == {
        *((ACCOUNT, name) for name in (*OTHER_ITEMS, "empty")),
        *(("other", name) for name in (*ITEMS, *OTHER_ITEMS)),
    }


WORDS = {
    "sync.plans": (("decision_reason",), {"state": "rejected"}, "plan_hash"),
    "sync.refusals": (("reason", "end_reason"), {"op": "update", "direction": "to_crm"}, "plan_hash"),
    "sync.ledger": (("reason",), {"op": "update", "direction": "to_crm", "decision": "refused"}, "plan_hash"),
    "sync.plan_changes": (
        ("reason",),
        {"op": "update", "direction": "to_crm", "state": "refused"},
        "plan_hash",
    ),
    "sync.quarantine": (("decision_reason",), {"state": "dismissed"}, "item_id"),
    "sync.notifications": (("subject", "text"), {"state": "sent"}, "event"),
}


def test_a_customer_is_forgotten_in_sentences(connection: sa.Connection) -> None:
    said = f"{NAME} of 1 Canary Street, Canaryville said no, and {EMAIL} bounced"
    for table, (columns, needed, name) in WORDS.items():
        for column in columns:
            for account, text in ((ACCOUNT, said), (ACCOUNT, "Ann said no"), ("other", said)):
                mark = f"{column} {account} {text[:9]}"
                put(connection, table, **{"account": account, **needed, name: mark, column: text})
    counted = dict(erase_documents(connection, ACCOUNT, WHO, documents_of(connection, ACCOUNT, WHO, VALUES)))
    assert {name: n for name, n in counted.items() if n} == {
        table: len(columns) for table, (columns, _, _) in WORDS.items()
    }
    forgotten = "(forgotten) of (forgotten) said no, and (forgotten) bounced"
    for table, (columns, _, _) in WORDS.items():
        for column in columns:
            found = connection.execute(
                sa.text(f"select account, {column} from {table} where {column} not in ('-', '')")
            )
            assert {tuple(row) for row in found} == {
                *((ACCOUNT, forgotten), (ACCOUNT, "Ann said no"), ("other", said)),
            }


def test_nobody_known_by_a_text_is_looked_for_in_sentences(connection: sa.Connection) -> None:
    put(connection, "sync.plans", account=ACCOUNT, plan_hash="p", state="rejected", decision_reason=NAME)
    nobody = Values(frozenset(), frozenset())
    found = dict(erase_documents(connection, ACCOUNT, WHO, documents_of(connection, ACCOUNT, WHO, nobody)))
    assert {name: n for name, n in found.items() if n} == {}
    assert "sync.plans" not in found


CONFIG = """
version: 1
accounts: {one: {mode: both}}
tables:
  notes:
    crm_table: crm.notes
    key: {note: note_id}
    fields: {body: {enerflo: body, type: text}}
"""


def forgotten(engine: sa.Engine, folder: Any, customer: int = 7, *, write: bool = True) -> ForgetReport:
    path = folder / "sync.yaml"
    path.write_text(CONFIG)
    found = forget(
        *(engine, load_config(path, {}), ACCOUNT, [customer], lambda: None),
        **{"by": "Pat", "limits": Limits(file=1_000, event=1_000), "clock": SystemClock()},
        **{"rng": random.Random(1), "write": write},
    )  # type: ignore[arg-type]
    (report,) = found.customers
    return report


def with_notes(engine: sa.Engine, *rows: tuple[str, dict[str, Any]]) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql("create table crm.notes (note bigint primary key, body text)")
        for table, values in rows:
            put(connection, table, **values)


KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "a customer": ("enerflo.customers", {"customer_id": 7, "observed_at": NOW}),
    "an install": ("enerflo.installs", {"install_id": 70, "customer_id": 7, "observed_at": NOW}),
    "a receipt": ("sync.forgotten", {"customer_id": 7}),
    "an event": ("sync.webhook_events", event("e", record="customers/7")),
}
NOT_KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "another customer": ("enerflo.customers", {"customer_id": 8, "observed_at": NOW}),
    "another's install": ("enerflo.installs", {"install_id": 7, "customer_id": 8, "observed_at": NOW}),
    "another's receipt": ("sync.forgotten", {"customer_id": 8}),
    "another's event": ("sync.webhook_events", event("e", record="customers/8")),
    "an event of an install": ("sync.webhook_events", event("e", record="customers/7", install_id=70)),
    **{
        f"{name} of another account": (table, {**values, "account": "other"})
        for name, (table, values) in KNOWN.items()
    },
}


@pytest.mark.parametrize("how", KNOWN)
def test_a_customer_is_known_by_any_trace(warehouse: sa.Engine, tmp_path: Any, how: str) -> None:
    table, values = KNOWN[how]
    with_notes(warehouse, (table, {"account": ACCOUNT, **values}))
    assert forgotten(warehouse, tmp_path, write=False).customer_id == 7


@pytest.mark.parametrize("how", NOT_KNOWN)
def test_a_customer_is_not_known_by_what_is_a_strangers(
    warehouse: sa.Engine, tmp_path: Any, how: str
) -> None:
    table, values = NOT_KNOWN[how]
    with_notes(warehouse, (table, {"account": ACCOUNT, **values}))
    with pytest.raises(ConfigurationError, match="there is no customer 7"):
        forgotten(warehouse, tmp_path)


def test_a_receipt_names_all_that_was_ever_theirs_and_sums_what_was_erased(
    warehouse: sa.Engine, tmp_path: Any
) -> None:
    seen = {"account": ACCOUNT, "observed_at": NOW}
    with_notes(
        *(warehouse, ("enerflo.customers", {**seen, "customer_id": 7, "email": EMAIL})),
        (
            "enerflo.installs",
            {**seen, "install_id": 70, "customer_id": 7, "deal_id": "d70", "customer_name": NAME},
        ),
        (
            "enerflo.installs",
            {**seen, "install_id": 80, "customer_id": 8, "deal_id": "d80", "customer_name": NAME},
        ),
        (
            "enerflo.installs",
            {**seen, "account": "other", "install_id": 90, "customer_id": 7, "deal_id": "d90"},
        ),
        (
            "enerflo.submissions",
            {"account": ACCOUNT, "deal_id": "d71", "install_id": 70, "content_hash": "a"},
        ),
        (
            "enerflo.submissions",
            {"account": ACCOUNT, "deal_id": "d81", "install_id": 80, "content_hash": "a"},
        ),
        (
            "enerflo.submissions",
            {"account": "other", "deal_id": "d91", "install_id": 70, "content_hash": "a"},
        ),
        ("enerflo.notes", {**seen, "note_id": 1, "install_id": 60, "body": "of a former install"}),
        ("sync.forgotten", {"account": "other", "customer_id": 7, "install_ids": [99], "uuids": ["d99"]}),
        (
            "sync.forgotten",
            {
                **{"account": ACCOUNT, "customer_id": 7, "install_ids": [60], "uuids": ["d60"]},
                **{"counts": {"enerflo.notes": 5, "archive": 2}, "forgotten_by": "Lee"},
            },
        ),
    )  # type: ignore[misc]
    looked = forgotten(warehouse, tmp_path, write=False)
    assert looked.run_id is None
    report = forgotten(warehouse, tmp_path)
    assert (
        report.counts == looked.counts == {"enerflo.customers": 1, "enerflo.installs": 1, "enerflo.notes": 1}
    )
    assert list(report.installs) == [60, 70]
    ((installs, uuids, counts, by),) = rows_of(
        warehouse,
        "select install_ids, uuids, counts, forgotten_by from sync.forgotten where account = 'one'",
    )
    assert (installs, sorted(uuids), by) == ([60, 70], ["d60", "d70", "d71"], "Lee")
    assert counts == {"enerflo.customers": 1, "enerflo.installs": 1, "enerflo.notes": 6, "archive": 2}
    assert rows_of(warehouse, "select install_id from enerflo.installs where customer_name is not null") == [
        (80,)
    ]
    runs = rows_of(
        warehouse, "select read, applied, state from sync.runs where run_id = :id", id=report.run_id
    )
    assert runs == [(3, 3, "ok")]
