"""``enerflo-sync forget``: a person with unmistakable values goes through everything, and is found nowhere after."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.backfill.request import named_request
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.ledger import run_ledger_check, run_seal
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.retention.forget import ForgetReport
from tests.writes.conftest import Desk
from tests.writes.kept import brought

# No other text of the company holds one of these.
CANARIES = ("Zyxwvut", "Qqrstuv", "zyx.qqr@canary.example", "777-314-1592", "31415 Canarylane", "Canaryville")
FIRST, LAST, EMAIL, MOBILE, ADDRESS, CITY = CANARIES
NOTE = f"Call {FIRST} {LAST} at {MOBILE} before noon"
ZIP = "31416"


@dataclass
class Person:
    desk: Desk
    customer: int
    install: int

    def forget(self, **options: Any) -> ForgetReport:
        return run_forget(self.desk.context, self.customer, by="Pat", **({"write": True} | options))

    def edited(self, **values: Any) -> None:
        self.desk.world.edit_customer(self.customer, values)


def found(desk: Desk) -> dict[str, list[str]]:
    """Every place below the schemas of this project, and below the drop, with one of the person's values."""
    places: dict[str, list[str]] = {}
    columns = desk.sql(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema in ('enerflo', 'sync')"
        " and data_type in ('text', 'json', 'jsonb', 'bytea', 'ARRAY', 'character varying')"
    )
    assert len(columns) > 200
    for column in columns:
        name = f'{column["table_schema"]}."{column["table_name"]}"."{column["column_name"]}"'
        table = f'{column["table_schema"]}."{column["table_name"]}"'
        value = f'"{column["column_name"]}"'
        rows = desk.sql(
            f"select convert_from(decode(t, 'escape'), 'UTF8') as t from ("
            f" select replace({value}::text, '\\', '\\\\') as t from {table}) x where t is not null"
        )
        for row in rows:
            raw = row["t"]
            raw += bytes.fromhex(raw[2:]).decode(errors="replace") if is_hex(raw) else ""
            for canary in CANARIES:
                if canary.lower() in raw.lower():
                    places.setdefault(name, []).append(canary)
    for path in files(desk):
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")
        for canary in CANARIES:
            if canary.lower() in text.lower():
                places.setdefault(path.name, []).append(canary)
    return {name: sorted(set(canaries)) for name, canaries in sorted(places.items())}


def is_hex(text: str) -> bool:
    return text.startswith("\\x") and len(text) % 2 == 0


def files(desk: Desk) -> Iterator[Path]:
    drop = Path(desk.environ["WEBHOOK_DROP_URI"])
    for folder in (drop, drop.parent / "archive"):
        yield from (path for path in folder.rglob("*") if path.is_file())


def tables_of(places: dict[str, list[str]]) -> set[str]:
    return {name.rpartition(".")[0].replace('"', "") for name in places if '"' in name}


@pytest.fixture
def person(agreed: Desk) -> Person:
    """A customer who was polled, told of, planned, applied, refused, rejected and explained."""
    state = agreed.a_site()
    brought(agreed, _known, state.customer_id, state.install_id)
    return Person(agreed, state.customer_id, state.install_id)


def _known(desk: Desk, customer: int, install: int) -> None:
    person = Person(desk, customer, install)
    person.edited(first_name=FIRST, last_name=LAST, email=EMAIL, mobile=MOBILE, address=ADDRESS, city=CITY)
    desk.told("update_customer", "customer.updated.v2")
    desk.world.add_note(install, NOTE)
    desk.told("new_install_note")
    desk.world.resubmit_install(install, panel_count=41)
    desk.told(*submitted(desk))
    run_poll(desk.context)
    run_reconcile(desk.context)
    desk.carried()
    # The CRM's edit of personal data goes to Enerflo.
    desk.sql(
        "update crm.leads set first_name = :name, updated_at = now() where enerflo_customer_id = :id",
        name=f"{FIRST}a",
        id=person.customer,
    )
    desk.carried()
    run_poll(desk.context)
    # A refusal, and a plan that ends without being applied.
    desk.sql(
        "update crm.leads set last_name = :name, updated_at = now() where enerflo_customer_id = :id",
        name=f"{LAST}b",
        id=person.customer,
    )
    plan = desk.plan()
    if plan.change_count:
        run_reject(desk.context, plan.plan_hash, by="Pat", reason=f"{FIRST} {LAST} said no")
    drop = Path(desk.environ["WEBHOOK_DROP_URI"])
    (drop / "broken.json").write_bytes(f'{{"webhook_event": "update_customer", "email": "{EMAIL}"'.encode())
    (drop / "unknown.json").write_text(
        json.dumps({"webhook_event": "never_heard_of", "customer_id": person.customer, "email": EMAIL})
    )
    (drop / "copy.json.gz").write_bytes(
        gzip.compress(
            json.dumps(
                {"webhook_event": "new_survey", "customer": {"id": person.customer, "n": LAST}}
            ).encode()
        )
    )
    run_ingest(desk.context)
    run_explain(desk.context, "install", str(install), reveal=True, by="Pat")


def submitted(desk: Desk) -> list[str]:
    import random

    from enerflo_sandbox.payloads import events_of

    names = [one.name for one in events_of(desk.world, desk.world.changes[-1], random.Random(1))]
    return [name for name in names if name in ("deal.projectSubmitted", "update_install")]


def test_a_forgotten_person_is_found_nowhere(person: Person) -> None:
    desk = person.desk
    before = found(desk)
    assert {
        *("enerflo.customers", "enerflo.installs", "enerflo.install_versions", "enerflo.notes"),
        *("sync.webhook_events", "sync.ledger", "sync.plan_changes", "sync.agreed", "sync.quarantine"),
    } <= tables_of(before)
    assert any(name.endswith(".json") for name in before)
    counted = {name: desk.one(f"select count(*) from {name}") for name in sorted(tables_of(before))}
    events = desk.one("select count(*) from sync.webhook_events")
    looked = person.forget(write=False)
    assert found(desk) == before
    report = person.forget()
    assert found(desk) == {}
    assert report.counts == looked.counts
    # Keys and counts stay; only what was agreed on is not agreed on any more.
    assert {name: desk.one(f"select count(*) from {name}") for name in counted if name != "sync.agreed"} == {
        name: number for name, number in counted.items() if name != "sync.agreed"
    }
    assert desk.one("select count(*) from sync.webhook_events") == events
    (receipt,) = desk.sql("select * from sync.forgotten")
    assert (receipt["customer_id"], receipt["forgotten_by"]) == (person.customer, "Pat")
    assert receipt["install_ids"] == [person.install]
    assert receipt["counts"] == report.counts
    again = person.forget()
    assert again.counts == {}
    assert desk.sql("select counts from sync.forgotten")[0]["counts"] == report.counts


@pytest.mark.parametrize("planned", [False, True], ids=["before any plan", "after a plan"])
def test_nor_under_a_name_that_a_table_had_before(person: Person, planned: bool) -> None:
    """The ledger, ended plans and differences stand under the names that tables had then."""
    desk = person.desk
    renamed = [
        (f"  {name}:\n    crm_table: crm.{name}", f"  our_{name}:\n    of: {name}\n    crm_table: crm.{name}")
        for name in ("leads", "installs", "notes")
    ]
    desk.switched_on("both", *renamed)
    if planned:
        desk.plan()
    kept = "select count(*) from sync.ledger where field like 'enerflo%' and new_value is not null"
    links = desk.one(kept)
    assert links
    assert {"sync.ledger", "sync.plan_changes", "sync.differences"} <= tables_of(found(desk))
    person.forget()
    assert found(desk) == {}
    assert desk.one(kept) == links


def test_what_was_erased_of_the_ledger_is_no_sign_of_a_change_by_hand(person: Person) -> None:
    desk = person.desk
    run_seal(desk.context)
    before = run_ledger_check(desk.context)
    assert (before.unsealed, before.rewritten, before.intact) == (0, 0, True)
    assert before.rows > 0
    person.forget()
    checked = run_ledger_check(desk.context)
    assert checked.rewritten > 0
    assert checked.intact
    reasons = {row["reason"] for row in desk.sql("select reason from sync.ledger_seals")}
    assert reasons == {None, f"enerflo-sync forget --customer {person.customer}"}
    desk.sql(
        "update sync.ledger set decided_by = 'nobody' where ledger_id = (select min(ledger_id) from sync.ledger)"
    )
    assert not run_ledger_check(desk.context).intact


def replayed(desk: Desk, install: int) -> Any:
    """The install's panel count, as the ledger gives it from the beginning."""
    rows = desk.sql(
        "select new_value from sync.ledger where table_name = 'installs' and field = 'panel_count'"
        " and decision = 'applied' and direction = 'to_crm' and key ->> 'enerflo_install_id' = :id"
        " order by ledger_id",
        id=str(install),
    )
    return rows[-1]["new_value"]


def crm_of(desk: Desk, install: int) -> Any:
    return desk.crm("installs", enerflo_install_id=install)["panel_count"]


def test_what_is_not_personal_stays(person: Person) -> None:
    desk = person.desk
    columns = (
        "install_id, customer_id, status_name, panel_count, agent_name, created_at, updated_at, observed_at"
    )
    install = f"select {columns} from enerflo.installs where install_id = {person.install}"
    lead = f"select customer_id, state, status_name, created_at from enerflo.customers where customer_id = {person.customer}"
    ledger = "select ledger_id, table_name, key, field, decision, rule, plan_hash, recorded_at from sync.ledger order by 1"
    statuses = "select new_value from sync.ledger where field in ('status', 'panel_count') order by ledger_id"
    before = [desk.sql(one) for one in (install, lead, ledger, statuses)]
    assert replayed(desk, person.install) == (before_crm := crm_of(desk, person.install))
    others = desk.one("select count(*) from enerflo.customers where first_name is not null")
    person.forget()
    assert [desk.sql(one) for one in (install, lead, ledger, statuses)] == before
    assert replayed(desk, person.install) == before_crm
    assert desk.one("select count(*) from enerflo.customers where first_name is not null") == others - 1


def test_nothing_brings_the_data_back(person: Person) -> None:
    desk = person.desk
    person.forget()
    run_poll(desk.context, full=True)
    assert found(desk) == {}
    run_rebuild(desk.context, write=True)
    assert found(desk) == {}
    # A later edit, told by webhooks, polls and a backfill.
    person.edited(mobile=MOBILE, address=ADDRESS, zip=ZIP)
    desk.told("update_customer", "customer.updated.v2")
    desk.world.add_note(person.install, NOTE)
    desk.told("new_install_note")
    desk.world.resubmit_install(person.install, panel_count=43)
    desk.told(*submitted(desk))
    run_poll(desk.context)
    assert (
        desk.one("select panel_count from enerflo.installs where install_id = :id", id=person.install) == 43
    )
    assert found(desk) == {}
    backfills = open_backfills(desk.context)
    backfills.backfill(named_request([person.install], []))
    assert found(desk) == {}
    desk.sql("update enerflo.installs set raw_hash = null")
    desk.sql("update enerflo.customers set raw_hash = null")
    run_poll(desk.context, full=True)
    assert found(desk) == {}
    report = run_rebuild(desk.context, write=True)
    assert sum(report.left.get("customers", {}).values()) >= 0
    assert found(desk) == {}


def test_a_file_that_comes_again_brings_nothing_back(person: Person) -> None:
    desk = person.desk
    drop = Path(desk.environ["WEBHOOK_DROP_URI"])
    kept = {path.name: path.read_bytes() for path in files(desk) if path.name != "broken.json"}
    copies = desk.one("select sum(copies)::int from sync.webhook_events")
    person.forget()
    for name, data in kept.items():
        (drop / f"again-{name}").write_bytes(data)
    run_ingest(desk.context)
    assert desk.one("select sum(copies)::int from sync.webhook_events") > copies
    assert found(desk) == {}


def test_mapped_personal_fields_are_neither_compared_nor_planned(person: Person) -> None:
    desk = person.desk
    person.forget()
    run_poll(desk.context)
    report = run_reconcile(desk.context, full=True)
    assert found(desk) == {}
    key = {"enerflo_install_id": person.install}
    named = desk.sql(
        "select field from sync.differences where key = cast(:key as jsonb) and reconciliation_id = :id",
        key=json.dumps(key),
        id=report.reconciliation_id,
    )
    assert "customer_name" not in {row["field"] for row in named}
    assert report.unexplained == 0
    plan = desk.plan()
    personal = (
        "customer_name",
        "first_name",
        "last_name",
        "email",
        "mobile",
        "address",
        "city",
        "zip",
        "body",
    )
    assert [one for one in desk.changes(plan) if one.field in personal and one.op == "update"] == []
    # What is not personal is planned as ever.
    desk.world.resubmit_install(person.install, panel_count=47)
    run_poll(desk.context)
    assert [one.after for one in desk.changes(desk.plan(), field="panel_count", key=key)] == [47]
    assert found(desk) == {}
    sent = len(desk.world.received)
    desk.carried()
    assert desk.crm("installs", enerflo_install_id=person.install)["panel_count"] == 47
    assert [one for one in desk.world.received[sent:] if EMAIL in str(one.body)] == []


def test_explain_still_tells_what_was_decided(person: Person) -> None:
    desk = person.desk
    person.forget()
    shown = run_explain(desk.context, "install", str(person.install), reveal=True, by="Pat")
    text = " ".join(render_explanation(shown).split())
    assert "Its customer was forgotten at " in text
    assert [canary for canary in CANARIES if canary in text] == []
    assert any(story.steps for story in shown.fields)


def test_refused_while_a_change_of_the_customer_waits_or_is_on_its_way(person: Person) -> None:
    desk = person.desk
    desk.world.resubmit_install(person.install, panel_count=48)
    run_poll(desk.context)
    plan = desk.plan()
    before = found(desk)
    with pytest.raises(ConfigurationError) as caught:
        person.forget()
    assert f"of installs of customer {person.customer}" in str(caught.value)
    assert f"in a plan that is open: plan {plan.plan_hash[:12]}" in str(caught.value)
    assert "Apply or reject the plan first. Nothing was erased." in str(caught.value)
    assert found(desk) == before
    assert desk.sql("select * from sync.forgotten") == []
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    desk.sql(
        "update sync.plan_changes set state = 'sent', sent_at = now() where plan_hash = :plan",
        plan=plan.plan_hash,
    )
    with pytest.raises(ConfigurationError, match=r"on (its|their) way"):
        person.forget()


def test_nobody_is_forgotten_who_is_not_known(agreed: Desk) -> None:
    with pytest.raises(ConfigurationError, match="there is no customer 999"):
        run_forget(agreed.context, 999, by="Pat", write=True)
    with pytest.raises(ConfigurationError, match="nobody is named"):
        run_forget(agreed.context, agreed.a_site().customer_id, by=" ", write=True)
