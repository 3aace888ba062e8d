from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from enerflo_sandbox.crm_plants import PlantedDifference
from enerflo_sandbox.crm_tables import CrmTables, make_crm_tables
from enerflo_sandbox.plants import Plant
from enerflo_sandbox.world import World
from enerflo_sync.errors import ConfigurationError

INSTALL_FIELDS = {
    "deal_id": "deal_id",
    "customer_name": "customer_name",
    "status": "status_name",
    "system_size_kw": "system_size_kw",
    "panel_type": "panel_type",
    "panel_count": "panel_count",
    "battery_configuration": "battery_configuration",
    "contract_amount": "contract_amount",
}
MILESTONE_FIELDS = {name: name for name in ("title", "started_at", "due_at", "completed_at")}
Found = set[tuple[str, tuple[tuple[str, Any], ...], str | None]]


@pytest.fixture
def connection(empty_warehouse_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_warehouse_url.replace("+psycopg", ""), autocommit=True) as one:
        yield one


def _copy(connection: psycopg.Connection[Any], table: str, ddl: str, rows: list[Any]) -> None:
    connection.execute(f"drop table if exists {table}")
    connection.execute(f"create temp table {table} ({ddl})")
    with connection.cursor().copy(f"copy {table} from stdin") as copy:
        for row in rows:
            copy.write_row(row)


def _differences(connection: psycopg.Connection[Any], world: World) -> Found:
    """Compare the crm tables with the truth in SQL, field by field and by their own means."""
    truth = world.truth
    installs = [
        (r.install_id, *(getattr(r, name) for name in INSTALL_FIELDS.values())) for r in truth.installs()
    ]
    ddl = "id bigint, deal_id text, customer_name text, status text, system_size_kw numeric, panel_type text,"
    _copy(
        connection,
        "t_installs",
        f"{ddl} panel_count int, battery_configuration text, contract_amount numeric",
        installs,
    )
    milestones = [
        (r.install_id, r.milestone_id, r.title, r.started_at, r.due_at, r.completed_at)
        for r in truth.milestones()
    ]
    ddl = "id bigint, m bigint, title text, started_at timestamptz, due_at timestamptz,"
    ddl += " completed_at timestamptz"
    _copy(connection, "t_milestones", ddl, milestones)
    notes = [(r.note_id, r.install_id, r.body, r.created_at) for r in truth.notes(deleted=False)]
    _copy(connection, "t_notes", "id bigint, install_id bigint, body text, created_at timestamptz", notes)
    found: Found = set()

    def compare(table: str, sql: str, key_names: tuple[str, ...], fields: list[str]) -> None:
        for *key, in_crm, in_truth, differing in connection.execute(sql):
            names = key_names
            if table == "notes" and not in_crm:
                names, key = ("enerflo_note_id",), key[1:]
            pairs = tuple(zip(names, key, strict=False))
            if not (in_crm and in_truth):
                found.add((table, pairs, None))
            for name, differs in zip(fields, differing, strict=True):
                if in_crm and in_truth and differs:
                    found.add((table, pairs, name))

    def flags(fields: list[str]) -> str:
        return "array[" + ", ".join(f"c.{name} is distinct from t.{name}" for name in fields) + "]"

    fields = list(INSTALL_FIELDS)
    compare(
        "installs",
        f"select coalesce(enerflo_install_id, id), enerflo_install_id is not null, id is not null,"
        f" {flags(fields)}"
        " from crm.installs c full join t_installs t on enerflo_install_id = id",
        ("enerflo_install_id",),
        fields,
    )
    fields = list(MILESTONE_FIELDS)
    compare(
        "milestones",
        f"select coalesce(enerflo_install_id, id), coalesce(milestone_id, m), milestone_id is not null,"
        f" m is not null, {flags(fields)}"
        " from crm.milestones c full join t_milestones t on enerflo_install_id = id and milestone_id = m",
        ("enerflo_install_id", "milestone_id"),
        fields,
    )
    compare(
        "notes",
        "select note_id, id, note_id is not null, id is not null, array[c.body is distinct from t.body,"
        " c.enerflo_install_id is distinct from t.install_id, c.created_at is distinct from t.created_at]"
        " from crm.notes c full join t_notes t on enerflo_note_id = id",
        ("note_id",),
        ["body", "enerflo_install_id", "created_at"],
    )
    return found


def _declared(planted: list[PlantedDifference]) -> Found:
    return {(one.table_name, tuple(one.key.items()), one.field) for one in planted}


@pytest.mark.parametrize("deleted", [False, True])
def test_the_tables_differ_from_the_truth_exactly_as_declared(
    connection: psycopg.Connection[Any], empty_warehouse_url: str, deleted: bool
) -> None:
    world = World(400, 7, per_cause=3)
    made = make_crm_tables(world, empty_warehouse_url)
    if deleted:
        for number in world.plants.installs[Plant.DELETED_IN_ENERFLO]:
            world.delete_install(world.install_id(number))
    expected = [
        one
        for one in made.planted
        if one.cause != "duplicate_identity" and (deleted or not one.after_deletion)
    ]
    assert _differences(connection, world) == _declared(expected)
    assert len(expected) > 40


@pytest.fixture
def made(empty_warehouse_url: str) -> tuple[World, CrmTables]:
    world = World(400, 7, per_cause=3)
    return world, make_crm_tables(world, empty_warehouse_url)


def test_every_cause_is_planted_as_often_as_asked_for(made: tuple[World, CrmTables]) -> None:
    causes = made[1].counts()
    # 3 of each, in as many places as the cause is planted in; a deletion takes six milestones with it.
    assert causes == {
        "in_flight": 3,
        "equal_after_normalisation": 9,
        "missing_in_crm": 9,
        "missing_in_enerflo": 6,
        "deleted_in_enerflo": 3 + 18,
        "voided": 3,
        "duplicate_identity": 3,
        "quarantined": 3,
        "unexplained": 15,
    }
    fields = Counter((one.table_name, one.field) for one in made[1].planted if one.cause == "unexplained")
    assert fields == {
        ("installs", "status"): 3,
        ("installs", "contract_amount"): 3,
        ("installs", "panel_count"): 3,
        ("milestones", "completed_at"): 3,
        ("notes", "body"): 3,
    }


def test_each_plant_is_what_its_cause_says(
    made: tuple[World, CrmTables], connection: psycopg.Connection[Any]
) -> None:
    world, tables = made
    for one in tables.planted:
        if one.table_name != "installs":
            continue
        install_id = one.key["enerflo_install_id"]
        rows = connection.execute(
            "select * from crm.installs where enerflo_install_id = %s", (install_id,)
        ).fetchall()
        truth = world.truth.install(int(install_id))
        assert len(rows) == {"missing_in_crm": 0, "duplicate_identity": 2}.get(one.cause, 1)
        assert (truth is None) == (one.cause == "missing_in_enerflo")
        if one.cause == "equal_after_normalisation":
            crm, enerflo = one.crm_value, one.enerflo_value
            if isinstance(crm, str):
                assert crm != enerflo
                assert crm.strip().lower() == str(enerflo).lower()
            else:
                assert 0 < abs(float(str(crm)) - float(str(enerflo))) < 0.005
        if one.cause == "voided":
            assert truth is not None
            assert (truth.status_name, one.crm_value) == ("Voided", "In progress")
        if one.cause == "quarantined":
            assert world.number_of(int(install_id)) in world.bad


def test_only_rows_in_flight_were_touched_lately(
    made: tuple[World, CrmTables], connection: psycopg.Connection[Any]
) -> None:
    flying = {one.key["enerflo_install_id"] for one in made[1].planted if one.cause == "in_flight"}
    recent = "select enerflo_install_id from crm.installs where updated_at > now() - interval '2 hours'"
    assert {row[0] for row in connection.execute(recent)} == flying
    for table in ("milestones", "notes", "change_orders", "leads"):
        newest = connection.execute(
            f"select now() - max(updated_at) > interval '2 hours' from crm.{table}"
        ).fetchone()
        assert newest == (True,)


def test_the_declared_differences_stand_in_the_warehouse_too(
    made: tuple[World, CrmTables], connection: psycopg.Connection[Any]
) -> None:
    rows = connection.execute(
        "select table_name, key, field, cause, enerflo_value, crm_value, after_deletion"
        " from sandbox.planted_differences"
    ).fetchall()
    assert [PlantedDifference(*row) for row in rows] == list(made[1].planted)


def test_leads_and_change_orders_agree_with_the_company(
    made: tuple[World, CrmTables], connection: psycopg.Connection[Any]
) -> None:
    world = made[0]
    known = {
        row.integration_record_id or f"enerflo-{row.customer_id}": row
        for row in world.truth.customers()
        if row.integration_record_id or row.customer_id % 12
    }
    leads = connection.execute(
        "select lead_id, enerflo_customer_id, email, zip, status from crm.leads"
    ).fetchall()
    linked = {row[0]: row[1:4] for row in leads if row[1] is not None}
    assert linked == {key: (row.customer_id, row.email, row.zip) for key, row in known.items()}
    assert {row[4] for row in leads} == {"new", "working", "qualified", "unqualified"}
    assert any(row[1] is None and row[4] == "qualified" for row in leads)
    orders = connection.execute(
        "select enerflo_change_order_id, status, signed_at, panel_count, jsonb_array_length(adders)"
        " from crm.change_orders order by 1"
    ).fetchall()
    news = Counter(adder.change_order_id for adder in world.truth.adders() if adder.side == "new")
    assert orders == [
        (o.change_order_id, o.status, o.signed_at, o.panel_count_new, news[o.change_order_id])
        for o in world.truth.change_orders()
    ]


def test_without_duplicates_the_installs_have_a_key(
    empty_warehouse_url: str, connection: psycopg.Connection[Any]
) -> None:
    made = make_crm_tables(World(100, 7, per_cause=1), empty_warehouse_url, allow_duplicates=False)
    assert "duplicate_identity" not in made.counts()
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("insert into crm.installs select * from crm.installs limit 1")


def test_making_them_again_replaces_them_and_an_empty_company_has_empty_tables(
    empty_warehouse_url: str, connection: psycopg.Connection[Any]
) -> None:
    make_crm_tables(World(100, 7, per_cause=1), empty_warehouse_url)
    made = make_crm_tables(World(0, 7, per_cause=1), empty_warehouse_url)
    assert made.planted == ()
    assert connection.execute("select count(*) from crm.installs").fetchone() == (0,)
    assert connection.execute("select count(*) from sandbox.planted_differences").fetchone() == (0,)


def test_somebody_elses_crm_is_not_touched_unless_told_to(
    empty_warehouse_url: str, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("create schema crm")
    connection.execute("create table crm.installs (theirs text)")
    connection.execute("create table crm.invoices (theirs text)")
    with pytest.raises(ConfigurationError, match=r"crm\.installs, crm\.invoices"):
        make_crm_tables(World(30, 7), empty_warehouse_url)
    assert connection.execute("select count(theirs) from crm.installs").fetchone() == (0,)
    make_crm_tables(World(30, 7), empty_warehouse_url, replace=True)
    assert connection.execute("select count(*) from crm.installs").fetchone() == (30,)
    assert connection.execute("select count(theirs) from crm.invoices").fetchone() == (0,)


def test_a_server_that_cannot_be_reached_is_said_in_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        make_crm_tables(World(1, 7), "postgresql+psycopg://nobody@127.0.0.1:1/nothing")


def test_progress_is_told_per_table(empty_warehouse_url: str) -> None:
    told: dict[str, int] = {}
    tick: Callable[[str, int], None] = told.__setitem__
    made = make_crm_tables(World(30, 7), empty_warehouse_url, on_progress=tick)
    assert told == made.rows
