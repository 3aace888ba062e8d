"""Warehouses of other shapes: what is recognised, what is left out, and what a draft never does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.suggest import run_suggest
from enerflo_sync.reconcile.draft import draft as module
from enerflo_sync.reconcile.draft import look
from enerflo_sync.reconcile.draft.draft import Draft
from enerflo_sync.shipped import shipped
from tests.reconcile.draft.conftest import drafted, use
from tests.reconcile.draft.salesforce import put_untidy_salesforce
from tests.writes import test_airbyte_copy, test_hubspot_copy
from tests.writes.conftest import Desk
from tests.writes.copies import code, found, run


def tables(draft: Draft) -> dict[str, Any]:
    return dict(yaml.safe_load(draft.text)["tables"])


def pairs(table: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a table with Enerflo's columns."""
    return {name: field["enerflo"] for name, field in table["fields"].items()}


def test_the_demos_tables_are_mapped_as_the_shipped_file_maps_them(desk: Desk) -> None:
    made = tables(drafted(desk))
    wanted = yaml.safe_load(shipped("sync.yaml").read_text())["tables"]
    assert list(made) == list(wanted)
    for name, table in made.items():
        assert {one: table.get(one) for one in ("crm_table", "key", "join", "updated_at")} == {
            one: wanted[name].get(one) for one in ("crm_table", "key", "join", "updated_at")
        }
    for name in ("installs", "milestones"):
        assert pairs(made[name]) == pairs(wanted[name])
    # The lead's own link is its key here, and the note's time is a field of Enerflo's, too.
    assert pairs(made["leads"]) == {
        name: mirror for name, mirror in pairs(wanted["leads"]).items() if mirror != "customer_id"
    }
    assert pairs(made["notes"]) == {**pairs(wanted["notes"]), "created_at": "created_at"}
    truths = {
        (name, column): field["source_of_truth"]
        for name, table in wanted.items()
        for column, field in table["fields"].items()
    }
    for name, table in made.items():
        for column, field in table["fields"].items():
            assert field["source_of_truth"] == truths.get((name, column), "enerflo")
    assert made["notes"]["create_in"] == made["leads"]["create_in"] == []


def hubspot(desk: Desk) -> None:
    run(desk, "drop schema crm cascade")
    test_hubspot_copy.copied_with(desk, "bigint")


def airbyte(desk: Desk) -> None:
    copy = test_airbyte_copy
    run(desk, "drop schema crm cascade", "create schema airbyte")
    run(desk, copy._DEALS, copy._ARCHIVED, copy._ARCHIVED_AT, copy._ROWS, *copy._ASIDE)
    run(desk, code(copy.TITLE, "sql").rstrip().rstrip(";"))


@pytest.mark.parametrize(
    ("shape", "title"), [(hubspot, test_hubspot_copy.TITLE), (airbyte, test_airbyte_copy.TITLE)]
)
def test_a_copy_is_drafted_with_its_marks_its_times_and_its_labels(
    desk: Desk, shape: Any, title: str
) -> None:
    shape(desk)
    draft = drafted(desk)
    made, wanted = tables(draft), yaml.safe_load(code(title, "yaml"))["tables"]
    options = ("crm_table", "deleted_when", "key", "updated_at", "arrived_at", "write_to", "unlinked")
    for name in ("installs", "milestones"):
        assert {one: made[name][one] for one in options} == {one: wanted[name][one] for one in options}
        assert made[name]["join"].keys() == wanted[name]["join"].keys()
        conditions = [one.option["where"] for one in draft.tables[0].suggestions if "where" in one.option]
        assert [one.replace('"', "") for one in conditions] == [wanted[name]["where"]]
    assert pairs(made["installs"]) == pairs(wanted["installs"])
    (stage,) = [name for name in made["installs"]["fields"] if name.endswith(("stage", "stage_id"))]
    labels = made["installs"]["fields"][stage]["values"]
    assert labels.items() <= wanted["installs"]["fields"][stage]["values"].items()
    assert {"Completed", "In progress"} <= labels.keys()
    (day,) = [one for one in made["milestones"]["columns"] if one.startswith("permit")]
    assert made["milestones"]["columns"][day]["time_zone"] == "America/Denver"
    # With the condition that is suggested nothing differs but stages of which too few rows tell the label.
    where = f"    where: {wanted['installs']['where']!r}\n"
    use(desk, draft.text.replace("    deleted_when", f"{where}    deleted_when"))
    differing = found(desk, run_reconcile(desk.context))
    assert {field for _, _, field in differing} <= {stage}


def test_a_day_that_is_midnight_elsewhere_comes_with_what_helps(desk: Desk) -> None:
    hubspot(desk)
    run(desk, "drop view hubspot.deal_days")
    text = drafted(desk).text
    (line,) = [line for line in text.splitlines() if "property_permit_approved_date" in line]
    assert line.strip().startswith(
        "property_permit_approved_date: {milestone: Permitting, enerflo: completed_at"
    )
    assert "by one day, as two time zones do" in line
    assert "map a view that converts the CRM's times" in line


def test_a_draft_hides_no_difference_for_a_row_that_says_the_day_alone(desk: Desk) -> None:
    rows = desk.sql(
        "select c.enerflo_install_id as install, c.milestone_id as milestone from crm.milestones c"
        " join enerflo.installs i on i.install_id = c.enerflo_install_id and i.status_name <> 'Voided'"
        " where extract(hour from c.completed_at at time zone 'UTC') between 3 and 15 order by 1, 2 limit 3"
    )
    day = "date_trunc('day', completed_at at time zone 'UTC') at time zone 'UTC'"
    moved = ("completed_at + interval '5 hours 13 seconds'", "completed_at + interval '165 minutes'")
    for row, value in zip(rows, (day, *moved), strict=True):
        desk.sql(
            f"update crm.milestones set completed_at = {value}"
            " where enerflo_install_id = :install and milestone_id = :milestone",
            **row,
        )
    text = drafted(desk).text
    assert "type: date would make them equal, and 2 further rows that differ by more than that" in text
    use(desk, text)
    (table,) = [one for one in run_reconcile(desk.context).tables if one.table_name == "milestones"]
    assert [(one.field, one.differences) for one in table.by_field] == [("completed_at", 3)]


def test_without_a_record_only_names_tell_and_the_file_says_so(desk: Desk) -> None:
    desk.sql("delete from enerflo.installs")
    draft = drafted(desk)
    made = tables(draft)
    assert list(made) == ["installs", "milestones", "notes", "leads", "change_orders"]
    assert "# The mirror holds no install yet: only names and types of columns were looked at." in draft.text
    assert "# by its name" in draft.text
    assert "rows say the same" not in draft.text
    desk.sql("alter table crm.installs alter enerflo_install_id type text")
    assert tables(drafted(desk))["installs"]["key"] == {
        "enerflo_install_id": {"enerflo": "install_id", "type": "integer", "trim": True}
    }


def test_before_the_mirror_is_made_names_tell_as_well(desk: Desk) -> None:
    run(desk, "drop schema enerflo cascade", "drop schema sync cascade")
    assert tables(drafted(desk))["installs"]["crm_table"] == "crm.installs"


def test_our_own_tables_are_never_drafted_and_without_others_the_file_is_the_shipped_one(desk: Desk) -> None:
    run(desk, "drop schema crm cascade")
    draft = drafted(desk)
    assert draft.text == shipped("sync.yaml").read_text()
    assert draft.remarks == ("No table was recognised: its tables are the demo's.",)


def test_what_the_role_may_not_read_is_left_out(desk: Desk) -> None:
    run(desk, "create role drafter", "grant usage on schema crm, enerflo to drafter")
    try:
        run(desk, "grant select on all tables in schema enerflo to drafter")
        run(
            desk,
            "grant select on crm.installs, crm.notes to drafter",
            "revoke select on crm.notes from drafter",
        )
        run(desk, "grant select (note_id, enerflo_note_id, body) on crm.notes to drafter")
        made = tables(drafted(desk, "drafter"))
        assert list(made) == ["installs", "notes"]
        assert pairs(made["notes"]) == {"body": "body"}
    finally:
        run(desk, "drop owned by drafter", "drop role drafter")


def test_a_table_that_cannot_be_read_in_time_or_at_all_is_a_remark_and_others_are_drafted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        desk,
        "create view crm.slow as select i.* from crm.installs i, pg_sleep(5)",
        "create view crm.wrong as select 1 / (enerflo_install_id - enerflo_install_id) as enerflo_install_id,"
        " status from crm.installs",
    )
    monkeypatch.setattr(module, "SECONDS", 1)
    draft = drafted(desk)
    assert tables(draft)["installs"]["crm_table"] == "crm.installs"
    assert set(draft.remarks) == {
        "crm.slow was not looked at: one statement took longer than 1 s.",
        "crm.wrong was not looked at: its rows cannot be read (SQLSTATE 22012).",
    }


def test_a_second_table_of_a_kind_is_a_remark(desk: Desk) -> None:
    run(desk, "create table crm.installs_2019 as select * from crm.installs limit 20")
    draft = drafted(desk)
    assert tables(draft)["installs"]["crm_table"] == "crm.installs"
    assert "crm.installs_2019 holds installs, too; crm.installs fits better." in draft.remarks


def test_names_of_any_letters_stay_what_they_are(desk: Desk) -> None:
    run(
        desk,
        'create schema "my.crm"',
        'alter table crm.installs set schema "my.crm"',
        'alter table "my.crm".installs rename to "50% # off: a"',
        'alter table "my.crm"."50% # off: a" rename customer_name to "Name\nof: {the} #1 \'customer\' %"',
        'alter table "my.crm"."50% # off: a" rename status to "yes"',
    )
    draft = drafted(desk)
    made = tables(draft)["installs"]
    assert made["crm_table"] == '"my.crm"."50% # off: a"'
    assert pairs(made)["Name\nof: {the} #1 'customer' %"] == "customer_name"
    assert pairs(made)["yes"] == "status_name"
    use(desk, draft.text)
    assert found(desk, run_reconcile(desk.context)) == set()


def test_a_table_on_which_the_doctor_errs_stands_behind_comment_marks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enerflo_sync.reconcile.draft.tables._updated_at", lambda candidate: "nowhere")
    draft = drafted(desk)
    assert tables(draft) == {}
    assert "  # found no column nowhere in crm.installs" in draft.text
    assert "  #   updated_at: nowhere" in draft.text
    assert "installs stands behind #: found no column nowhere" in " ".join(draft.remarks)
    use(desk, draft.text)


def test_of_large_tables_a_part_of_the_rows_is_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put_untidy_salesforce(desk)
    run(desk, "analyze")
    whole = tables(drafted(desk))
    monkeypatch.setattr(look, "ROWS", 200)
    draft = drafted(desk)
    assert tables(draft) == whole
    (looked_at,) = {
        int(number) for number in re.findall(r"of ([0-9]+) rows that were looked at are marked", draft.text)
    }
    assert looked_at <= 200


def test_a_table_whose_rows_no_column_names_is_no_table_of_installs(desk: Desk) -> None:
    """Each install has two rows, and nothing says which of them counts."""
    run(
        desk,
        "create table crm.lines as select * from crm.installs",
        "insert into crm.lines select * from crm.lines",
        "drop table crm.installs cascade",
    )
    draft = drafted(desk)
    assert "installs" not in tables(draft)
    assert "# No table of these was recognised: installs." in draft.text


def test_the_tables_own_key_names_its_rows_whatever_other_columns_are_unique(desk: Desk) -> None:
    run(
        desk,
        "alter table crm.notes drop constraint notes_pkey",
        "create unique index on crm.notes (enerflo_note_id)",
        "alter table crm.notes add primary key (note_id)",
    )
    assert tables(drafted(desk))["notes"]["key"] == ["note_id"]
    assert tables(drafted(desk))["notes"]["join"] == {"enerflo_note_id": "note_id"}


@pytest.mark.parametrize("unique", ["", "alter table crm.contacts add primary key (_airbyte_raw_id)"])
def test_a_copy_tools_own_id_names_no_row_since_the_next_copy_changes_it(desk: Desk, unique: str) -> None:
    run(
        desk,
        "drop table crm.leads",
        "create table crm.contacts as select md5(customer_id::text) as _airbyte_raw_id,"
        " now() as _airbyte_extracted_at, nullif(customer_id % 7, 0) * 0 + customer_id as enerflo_customer_id,"
        " (100000 + customer_id)::text as hs_object_id, first_name, last_name, email, mobile"
        " from enerflo.customers where deleted_at is null",
        *filter(None, [unique]),
    )
    leads = tables(drafted(desk))["leads"]
    assert (leads["crm_table"], leads["key"]) == ("crm.contacts", ["hs_object_id"])
    assert list(leads["join"]) == ["enerflo_customer_id"]


def test_installs_that_are_named_by_their_deal_alone_are_found_by_it(desk: Desk) -> None:
    run(
        desk,
        "alter table crm.installs drop column enerflo_install_id cascade",
        "update crm.installs set deal_id = ' ' || upper(deal_id)",
        "alter table crm.installs add id text",
        "update crm.installs set id = 'a' || md5(deal_id)",
        "alter table crm.installs add primary key (id)",
    )
    draft = drafted(desk)
    installs = tables(draft)["installs"]
    assert installs["key"] == ["id"]
    assert installs["join"] == {"deal_id": {"enerflo": "deal_id", "trim": True, "fold_case": True}}
    assert pairs(installs)["status"] == "status_name"
    use(desk, draft.text)
    report = run_reconcile(desk.context)
    assert [one.only_enerflo for one in report.tables if one.table_name == "installs"] == [0]


def test_a_table_without_rows_and_a_kind_without_records_are_drafted_by_their_names(desk: Desk) -> None:
    desk.sql("truncate crm.leads")
    desk.sql("delete from enerflo.change_orders")
    draft = drafted(desk)
    made = tables(draft)
    assert list(made) == ["installs", "milestones", "notes", "leads", "change_orders"]
    about = {one.name: one.about for one in draft.tables}
    for name in ("leads", "change_orders"):
        assert about[name] == f"crm.{name}: {name} by the names of its columns alone."
        assert pairs(made[name])
    assert "40 rows" in about["installs"]


def test_a_mark_that_living_records_have_is_only_suggested(desk: Desk) -> None:
    """Here archived means that the installation is done."""
    desk.sql("alter table crm.installs add archived boolean")
    desk.sql("update crm.installs set archived = status = 'Completed'")
    draft = drafted(desk)
    completed = desk.one("select count(*) from crm.installs where archived")
    assert "deleted_when" not in tables(draft)["installs"]
    line = (
        f"# deleted_when: {{archived: true}}  # {completed} living records of Enerflo have only rows that are"
    )
    assert line in draft.text
    use(desk, draft.text)
    assert found(desk, run_reconcile(desk.context)) == set()


def test_rows_of_which_one_side_is_empty_are_counted_with_the_others(desk: Desk) -> None:
    desk.sql("update enerflo.installs set panel_type = 'P' || install_id, battery_configuration = null")
    desk.sql("update crm.installs set panel_type = 'P' || enerflo_install_id, battery_configuration = 'TBD'")
    few = "(select install_id from enerflo.installs order by 1 limit 6)"
    desk.sql(
        f"update enerflo.installs set battery_configuration = 'B' || install_id where install_id in {few}"
    )
    desk.sql(
        "update crm.installs set battery_configuration = 'B' || enerflo_install_id, panel_type = null"
        f" where enerflo_install_id in {few}"
    )
    text = drafted(desk).text
    assert line_of(text, "panel_type").endswith("# 34 of 40 rows say the same")
    battery = line_of(text, "battery_configuration")
    assert battery.startswith("# battery_configuration: {")
    assert battery.endswith("# 34 of 40 rows differ.")


def line_of(text: str, column: str) -> str:
    """Return the first line of a draft that has a column's options."""
    options = f"{column}: {{enerflo"
    return next(line.strip() for line in text.splitlines() if line.strip(" #").startswith(options))


def test_a_line_of_which_several_zones_fit_says_so(desk: Desk) -> None:
    day = "date '2025-01-01' + (install_id % 20)::int"
    late, noon = f"({day} + time '05:30') at time zone 'UTC'", f"({day} + time '20:00') at time zone 'UTC'"
    desk.sql(
        f"update enerflo.milestones set completed_at = case when install_id % 2 = 0 then {late} else {noon} end"
        " where title = 'Inspection'"
    )
    desk.sql("create schema pm")
    desk.sql(
        "create table pm.projects as select i.install_id as project, i.customer_name as client,"
        " (m.completed_at at time zone 'America/Denver')::date as inspection_day"
        " from enerflo.installs i join enerflo.milestones m on m.install_id = i.install_id"
        " where m.title = 'Inspection'"
    )
    run(desk, "drop schema crm cascade")
    (line,) = [line for line in drafted(desk).text.splitlines() if "inspection_day" in line]
    assert "time_zone: America/Los_Angeles" in line
    assert "As well would fit America/Denver" in line
    # The same is said where suggest writes the line.
    use(desk, drafted(desk).text.replace(", time_zone: America/Los_Angeles", ""))
    (suggested,) = run_suggest(desk.context, desk.folder / "s.yaml", desk.environ).lines
    assert "As well would fit America/Denver" in suggested.choices[0]


def test_a_table_whose_keys_no_option_reads_stands_behind_comment_marks(desk: Desk) -> None:
    run(desk, "drop schema crm cascade", "create schema crm")
    run(
        desk,
        "create table crm.deals as select install_id || chr(160) as install_id, customer_name, contract_amount"
        " from enerflo.installs",
    )
    draft = drafted(desk)
    assert tables(draft) == {}
    assert "  #   key: {install_id: " in draft.text
    assert "no key of its rows is that of a record" in draft.text
    assert "installs stands behind #: no key of its rows" in " ".join(draft.remarks)
