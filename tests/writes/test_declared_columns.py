"""Columns that sync.yaml adds to the mirror: made and filled once, and from then on by every way in."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.appointments import FIRST_ID
from enerflo_sandbox.state import AppointmentState
from enerflo_sync.backfill.request import BackfillRequest, Kind
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.columns import run_columns
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.declared import DeclaredColumn, filled_by_sweep, require_filled
from tests.writes.conftest import Desk

PATHS = {
    "lender": "{path: loan.lender, type: text, personal_data: false}",
    "utility_company": "{path: utility.company, type: text}",
    "offset_share": "{path: survey.solar_data_solar_offset, type: number}",
    "inverters": "{path: survey.solar_data_inverter_count, type: integer}",
    "agreed_at": "{path: created_at, type: timestamp}",
    "agreed_on": "{path: created_at, type: date}",
    "first_file": "{path: files.0.type, type: text}",
    "system": "{path: equipment, type: json}",
    "nowhere": "{path: loan.rate, type: number}",
    "no_number": "{path: loan.lender, type: number}",
    "is_set": "{path: company.name, type: boolean}",
    "cut": "{path: image, type: text, max_length: 3}",
}


def declared(desk: Desk, table: str = "installs", mapped: str = "", **columns: str) -> None:
    """Declare columns of a mirror table, and map CRM columns of installs to them."""
    lines = "".join(f"    {name}: {how}\n" for name, how in columns.items())
    edits = [("\ntables:\n", f"\ncolumns:\n  {table}:\n{lines}\ntables:\n")]
    if mapped:
        field = "      panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}\n"
        edits.append((field, field + mapped))
    desk.switched_on("both", *edits)


def values(desk: Desk, column: str, table: str = "installs") -> dict[Any, Any]:
    key = {"installs": "install_id", "milestones": "install_id, milestone_id", "notes": "note_id"}[table]
    return {
        tuple(row.values())[:-1]: row[column]
        for row in desk.sql(f"select {key}, {column} from enerflo.{table}")
    }


def said(desk: Desk, path: str) -> dict[Any, Any]:
    rows = desk.sql(
        "select v.install_id, v.raw #>> :path as value from enerflo.installs i"
        " join enerflo.install_versions v using (account, install_id, content_hash)",
        path="{" + path.replace(".", ",") + "}",
    )
    return {(row["install_id"],): row["value"] for row in rows}


def test_columns_are_typed_and_filled_from_the_stored_versions_without_a_request(agreed: Desk) -> None:
    declared(agreed, **PATHS)
    report = run_columns(agreed.context)
    assert len(report.added) == len(report.filled) == len(PATHS)
    assert report.rows == {"installs": agreed.one("select count(*) from enerflo.installs")}
    assert values(agreed, "lender") == said(agreed, "loan.lender")
    assert values(agreed, "utility_company") == said(agreed, "utility.company")
    assert values(agreed, "first_file") == said(agreed, "files.0.type")
    for column, cast in (("offset_share", "numeric"), ("inverters", "bigint"), ("agreed_at", "timestamptz")):
        path = PATHS[column].split("path: ")[1].split(",")[0].replace(".", ",")
        assert (
            agreed.sql(
                f"select i.{column}, (v.raw #>> '{{{path}}}')::{cast} as value from enerflo.installs i"
                " join enerflo.install_versions v using (account, install_id, content_hash)"
                f" where i.{column} is distinct from (v.raw #>> '{{{path}}}')::{cast}"
            )
            == []
        )
        assert any(value is not None for value in values(agreed, column).values())
    assert (
        agreed.sql("select from enerflo.installs where agreed_on <> (agreed_at at time zone 'UTC')::date")
        == []
    )
    assert agreed.one("select count(distinct system ->> 'panel') from enerflo.installs") > 1
    for column in ("nowhere", "no_number", "is_set", "cut"):
        assert set(values(agreed, column).values()) == {None}
    assert "client" not in vars(agreed.context), "something was asked of Enerflo"
    again = run_columns(agreed.context)
    assert (again.added, again.filled, again.rows) == ([], [], {})


def test_what_is_absent_of_another_type_or_too_long_is_null_and_counted(agreed: Desk) -> None:
    declared(agreed, **PATHS)
    run_columns(agreed.context)
    install_id = agreed.a_site().install_id
    agreed.world.set_status(install_id, 4)
    report = run_poll(agreed.context)
    for place in ("nowhere: absent", "no_number: no number", "is_set: no yes or no", "cut: too long"):
        assert report.reasons["notice"][f"declared_column: installs.{place}"] >= 1
    assert agreed.one("select count(*) from sync.quarantine where state = 'open'") == 0


@pytest.mark.parametrize("way", ["poll", "webhook", "backfill", "rebuild"])
def test_every_way_in_fills_them_alike(agreed: Desk, way: str) -> None:
    declared(agreed, lender=PATHS["lender"], title="{path: status_name, type: text}")
    run_columns(agreed.context)
    install_id = agreed.a_site().install_id
    agreed.world.set_status(install_id, 4)
    if way == "poll":
        run_poll(agreed.context)
    elif way == "webhook":
        agreed.told("update_install")
    elif way == "backfill":
        open_backfills(agreed.context).backfill(BackfillRequest(Kind.IDS, install_ids=[install_id]))
    else:
        run_poll(agreed.context)
        agreed.sql("update enerflo.installs set title = 'damaged', lender = null")
        run_rebuild(agreed.context, write=True)
    assert values(agreed, "title")[install_id,] == "On Hold"
    assert values(agreed, "lender") == said(agreed, "loan.lender")
    before = agreed.sql("select * from enerflo.installs order by install_id")
    run_poll(agreed.context)
    after = agreed.sql("select * from enerflo.installs order by install_id")
    seen = ("observed_at", "observed_by", "raw_hash")
    assert [{k: v for k, v in row.items() if k not in seen} for row in after] == [
        {k: v for k, v in row.items() if k not in seen} for row in before
    ]


def test_milestones_read_theirs_within_their_own_row(agreed: Desk) -> None:
    declared(agreed, "milestones", about="{path: milestone.description, type: text}")
    run_columns(agreed.context)
    found = values(agreed, "about", "milestones")
    assert len(set(found.values())) > 3
    assert None not in found.values()
    agreed.world.set_milestone(agreed.a_site().install_id, 3905, {"due": datetime.now(UTC)})
    run_poll(agreed.context)
    assert values(agreed, "about", "milestones") == found


def test_records_without_stored_versions_are_read_again_by_the_next_poll(agreed: Desk) -> None:
    agreed.world.add_note(agreed.a_site().install_id, "Call first")
    run_poll(agreed.context)
    declared(agreed, "notes", written_on="{path: created_at, type: date}")
    report = run_columns(agreed.context)
    assert (report.filled, report.next_poll) == ([], ["notes.written_on"])
    assert set(values(agreed, "written_on", "notes").values()) == {None}
    run_poll(agreed.context)
    assert None not in values(agreed, "written_on", "notes").values()
    assert run_columns(agreed.context).next_poll == []


def test_columns_of_appointments_are_filled_at_once_from_their_versions(agreed: Desk) -> None:
    customer = next(agreed.world.truth.customers()).customer_id
    agreed.world.appointments.append(AppointmentState(FIRST_ID, customer, 3, 1_772_000_000, 1_772_003_600))
    run_poll(agreed.context, resources=frozenset({PollResource("appointments")}))
    declared(agreed, "appointments", minutes="{path: length_minutes, type: integer}")
    report = run_columns(agreed.context)
    assert (report.filled, report.next_poll) == (["appointments.minutes"], [])
    assert report.rows == {"appointments": 1}
    assert agreed.sql("select minutes from enerflo.appointments") == [{"minutes": 60}]


def test_where_a_record_has_no_stored_version_the_next_poll_fills_the_column(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    agreed.sql("delete from enerflo.install_versions where install_id = :i", i=install_id)
    declared(agreed, lender=PATHS["lender"])
    report = run_columns(agreed.context)
    assert (report.filled, report.next_poll) == ([], ["installs.lender"])
    assert values(agreed, "lender")[install_id,] is None
    run_poll(agreed.context)
    assert values(agreed, "lender") == said(agreed, "loan.lender")
    assert values(agreed, "lender")[install_id,] is not None
    assert run_columns(agreed.context).next_poll == []


MAPPED = "      lender: {enerflo: lender, type: text, source_of_truth: enerflo}\n"


def test_they_are_reconciled_planned_and_explained_as_any_other(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add column lender text")
    declared(agreed, mapped=MAPPED, lender=PATHS["lender"])
    with pytest.raises(
        ConfigurationError, match=r"the column lender of enerflo\.installs is declared"
    ) as told:
        run_reconcile(agreed.context)
    assert "enerflo-sync migrate" in str(told.value)
    run_columns(agreed.context)
    agreed.carried()
    install_id = agreed.a_site().install_id
    assert {
        (row["enerflo_install_id"],): row["lender"] for row in agreed.sql("select * from crm.installs")
    }.items() >= values(agreed, "lender").items()
    agreed.settled()
    agreed.sql(
        "update crm.installs set lender = 'A bank', updated_at = now() where enerflo_install_id = :i",
        i=install_id,
    )
    plan = agreed.plan()
    (change,) = agreed.changes(plan, field="lender")
    assert (change.before, change.after) == ("A bank", values(agreed, "lender")[install_id,])
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    (story,) = run_explain(agreed.context, "install", str(install_id), field="lender").fields
    assert story.enerflo is not None
    assert story.crm is not None
    assert story.enerflo.value == story.crm.value != "A bank"
    assert story.steps[-1].new_value == story.crm.value


def test_a_fill_that_was_cut_off_goes_on(agreed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(agreed, mapped="", lender=PATHS["lender"])

    class Cut(BaseException):
        pass

    def cut(*_: Any) -> None:
        raise Cut

    with pytest.raises(Cut):
        run_columns(agreed.context, progress=cut)
    with pytest.raises(ConfigurationError, match="not every record was read for it yet"):
        agreed.sql("alter table crm.installs add column lender text")
        declared(agreed, mapped=MAPPED, lender=PATHS["lender"])
        run_reconcile(agreed.context)
    assert run_columns(agreed.context).filled == ["installs.lender"]
    assert values(agreed, "lender") == said(agreed, "loan.lender")
    run_reconcile(agreed.context)


@pytest.mark.parametrize("way", ["a poll in pages", "an ingest"])
def test_what_began_before_the_declaration_fills_them_too(agreed: Desk, way: str) -> None:
    """Somebody migrates while a job of another process is under way."""
    declared(agreed, title="{path: status_name, type: text}")
    pages = (("per_page: 500", "per_page: 5"), ("min_per_page: 25", "min_per_page: 5"))
    installs = [row["install_id"] for row in agreed.sql("select install_id from enerflo.installs order by 1")]
    for install_id in installs:
        agreed.world.set_status(install_id, 4)
    migrated: list[Any] = []

    def migrate_once(*_: Any) -> None:
        if not migrated:
            migrated.append(run_columns(agreed.context))

    columns = agreed.context.config.columns
    agreed.switched_on("both", *pages)
    agreed.context.config = agreed.context.config.model_copy(update={"columns": columns})
    if way == "a poll in pages":
        run_poll(agreed.context, progress=migrate_once)
    else:
        for install_id in installs:
            body = json.dumps({"webhook_event": "update_install", "id": install_id})
            (Path(agreed.environ["WEBHOOK_DROP_URI"]) / f"{install_id}.json").write_text(body)
        run_ingest(agreed.context, progress=migrate_once)
    assert migrated
    found = values(agreed, "title")
    assert found == said(agreed, "status_name")
    assert set(found.values()) == {"On Hold"}


@pytest.mark.parametrize("first", [True, False], ids=["a new column", "another path"])
def test_a_declaration_waits_for_records_that_are_being_stored(agreed: Desk, first: bool) -> None:
    """A new install that another session stores meanwhile is not seen by the fill until it is committed."""
    if not first:
        declared(agreed, lender=PATHS["lender"])
        run_columns(agreed.context)
    raw = agreed.one("select convert_to(max(raw::text), 'UTF8') from enerflo.install_versions")
    record = json.loads(bytes(raw)) | {"id": 4_499_999, "utility": {"company": "Sun and Sons"}}
    seen = Observation("default", datetime.now(UTC), "webhook", "test")
    declared(agreed, lender="{path: utility.company, type: text}")
    with ThreadPoolExecutor(1) as pool:
        with agreed.engine.begin() as connection:
            intake = Intake(INSTALLS)
            assert intake.take(connection, [json.dumps(record).encode()], seen).good == [4_499_999]
            declaring = pool.submit(run_columns, agreed.context)
            with pytest.raises(TimeoutError):
                declaring.result(timeout=1)
        assert declaring.result(timeout=60).filled == ["installs.lender"]
    assert values(agreed, "lender")[4_499_999,] == "Sun and Sons"


def test_two_migrations_that_start_at_once_both_fill_their_columns(agreed: Desk) -> None:
    """As of two machines that are upgraded at once."""
    declared(agreed, lender=PATHS["lender"])
    run_columns(agreed.context)
    declared(agreed, lender=PATHS["lender"], title="{path: status_name, type: text}")
    with ThreadPoolExecutor(1) as pool:
        with agreed.engine.connect() as other, alone(other, "default", "rebuild"):
            filling = pool.submit(run_columns, agreed.context)
            with pytest.raises(TimeoutError):
                filling.result(timeout=1)
        assert filling.result(timeout=60).filled == ["installs.title"]
    assert values(agreed, "title") == said(agreed, "status_name")
    with ThreadPoolExecutor(2) as pool:
        declared(
            agreed, lender="{path: utility.company, type: text}", title="{path: status_name, type: text}"
        )
        both = [pool.submit(run_columns, agreed.context) for _ in range(2)]
        for one in both:
            one.result(timeout=60)
    assert values(agreed, "lender") == said(agreed, "utility.company")


def test_a_read_that_began_before_the_declaration_has_not_filled_a_column(agreed: Desk) -> None:
    for path in ("created_at", "deleted_at"):
        began = agreed.one("select clock_timestamp()")
        declared(agreed, "notes", written_on=f"{{path: {path}, type: date}}")
        run_columns(agreed.context)
        with agreed.engine.begin() as connection:
            filled_by_sweep(connection, "default", "notes", began)
        assert run_columns(agreed.context).next_poll == ["notes.written_on"]
        run_poll(agreed.context)
        assert run_columns(agreed.context).next_poll == []


def test_another_path_fills_them_again(agreed: Desk) -> None:
    declared(agreed, lender=PATHS["lender"])
    run_columns(agreed.context)
    declared(agreed, lender="{path: utility.company, type: text}")
    report = run_columns(agreed.context)
    assert (report.added, report.read_elsewhere) == ([], ["installs.lender"])
    assert values(agreed, "lender") == said(agreed, "utility.company")


def test_without_its_line_a_column_stays_and_is_filled_until_it_is_dropped(agreed: Desk) -> None:
    declared(agreed, lender=PATHS["lender"], title="{path: status_name, type: text}")
    run_columns(agreed.context)
    agreed.switched_on("both")
    assert run_columns(agreed.context).kept == ["installs.lender", "installs.title"]
    install_id = agreed.a_site().install_id
    agreed.world.set_status(install_id, 4)
    run_poll(agreed.context)
    assert values(agreed, "title")[install_id,] == "On Hold"
    assert run_columns(agreed.context, drop=True).dropped == ["installs.lender", "installs.title"]
    columns = agreed.sql("select * from enerflo.installs limit 1")[0]
    assert not {"lender", "title"} & columns.keys()
    agreed.world.set_status(install_id, 1304)
    run_poll(agreed.context)
    agreed.carried()
    agreed.settled()


@pytest.mark.parametrize("made", ["by somebody else", "with another type"])
def test_a_column_that_is_there_already_is_not_taken_over(agreed: Desk, made: str) -> None:
    if made == "by somebody else":
        agreed.sql("alter table enerflo.installs add column lender text")
    else:
        declared(agreed, lender="{path: loan.lender, type: json}")
        run_columns(agreed.context)
    declared(agreed, lender=PATHS["lender"])
    with pytest.raises(ConfigurationError, match="has a column lender already"):
        run_columns(agreed.context)


def test_another_path_of_a_mapped_column_is_another_mapping(agreed: Desk) -> None:
    """Its values change although no record was seen anew: every row has to be compared."""
    hashes = []
    for path in ("loan.lender", "loan.lender", "utility.company"):
        declared(agreed, mapped=MAPPED, lender=f"{{path: {path}, type: text}}")
        hashes.append(agreed.context.config.hash("default"))
    assert hashes[0] == hashes[1] != hashes[2]
    agreed.switched_on("both")
    unmapped = agreed.context.config.hash("default")
    declared(agreed, lender=PATHS["lender"])
    assert agreed.context.config.hash("default") == unmapped


def test_a_new_row_is_made_of_no_column_that_was_not_filled(agreed: Desk) -> None:
    agreed.sql("alter table crm.notes add column lender text")
    declared(agreed, "notes", written_on="{path: created_at, type: date}")
    path, key = agreed.context.config_path, '{note_id: "enerflo-{note_id}"'
    assert key in path.read_text()
    path.write_text(path.read_text().replace(key, key + ', lender: "{written_on}"'))
    agreed.context.config = load_config(path, agreed.environ)
    run_columns(agreed.context)
    with pytest.raises(ConfigurationError, match="not every record was read for it yet"):
        agreed.plan()
    run_poll(agreed.context)
    agreed.plan()


def test_a_number_is_the_same_text_by_a_poll_and_from_its_stored_version(agreed: Desk) -> None:
    """Enerflo's PHP writes very small and very large numbers with an exponent, and jsonb without one."""
    raw = agreed.one("select convert_to(max(raw::text), 'UTF8') from enerflo.install_versions")
    record = json.loads(bytes(raw)) | {"id": 4_499_998, "rate": {"small": 1.5e-05, "large": 1.25e21}}
    declared(agreed, small="{path: rate.small, type: text}", large="{path: rate.large, type: text}")
    run_columns(agreed.context)
    with agreed.engine.begin() as connection:
        seen = Observation("default", datetime.now(UTC), "poll", "poll:test")
        Intake(INSTALLS).take(connection, [json.dumps(record).encode()], seen)
    query = "select small, large from enerflo.installs where install_id = 4499998"
    before = agreed.sql(query)
    assert before == [{"small": "0.000015", "large": "1250000000000000000000"}]
    assert {table.changed for table in run_rebuild(agreed.context, write=False).tables} == {0}
    agreed.sql("update enerflo.installs set small = null, large = null where install_id = 4499998")
    run_rebuild(agreed.context, write=True)
    assert agreed.sql(query) == before


def test_each_account_is_told_to_make_its_own_columns(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add column lender text")
    declared(agreed, mapped=MAPPED, lender=PATHS["lender"])
    run_columns(agreed.context)
    column = DeclaredColumn("installs", "lender", ("loan", "lender"), "text", 10_000)
    with agreed.engine.begin() as connection:
        require_filled(connection, "default", [column])
        with pytest.raises(ConfigurationError, match=r"Run enerflo-sync migrate --account west\."):
            require_filled(connection, "west", [column])
