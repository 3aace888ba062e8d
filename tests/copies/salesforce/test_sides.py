"""Beside the carrying: the command that goes on with what is open, the doctor, and other names of columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.cli import main
from enerflo_sync.cli.doctor import checks
from enerflo_sync.cli.salesforce_check import goes_to_salesforce, salesforce_check
from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from tests.copies.salesforce.conftest import ACCOUNT, TO, Office
from tests.copies.salesforce.test_new_records import DELETED, MADE

SIZE = "System_Size__c"


def test_what_stayed_open_goes_on_without_a_plan(office: Office) -> None:
    ids = [office.moves(office.install(number)) for number in range(2)]
    office.company.limit, office.company.used = 100, 100
    office.applied()
    assert (report := run_carry(office.desk.context)) is not None
    assert (report.taken, report.open) == (0, 2)
    assert report.stopped is not None
    office.company.used = 0
    office.desk.context.__dict__.pop("salesforce")
    report = run_carry(office.desk.context)
    assert report is not None
    assert (report.taken, report.unmade, report.open, report.stopped) == (2, 0, 0, None)
    assert sorted(path for _, path, _ in office.company.writes) == sorted(ids)
    assert run_carry(office.desk.context) is not None
    assert len(office.company.writes) == 2


def test_an_account_that_does_not_go_to_salesforce_carries_nothing(office: Office) -> None:
    office.mapped(
        TO.replace(
            "    write_to: salesforce\n    salesforce: {object: Opportunity}\n", "    write_to: changes\n"
        )
    )
    assert run_carry(office.desk.context) is None
    assert not goes_to_salesforce(office.desk.context)
    office.moves(office.install())
    office.applied()
    assert office.company.calls == []


def test_the_keep_free_share_is_a_setting(office: Office) -> None:
    text = ACCOUNT[1].replace("}\n", ", keep_free_percent: 0}\n", 1).replace('"}, keep', '", keep')
    office.mapped(TO, account=(ACCOUNT[0], text))
    office.moves(office.install())
    office.company.limit, office.company.used = 100, 90
    _, report = office.applied()
    assert report.stopped is None
    assert len(office.company.writes) == 1


def test_a_token_is_enough_and_is_not_renewed(office: Office) -> None:
    text = ACCOUNT[1].replace('client_id: "${SF_ID}", client_secret: "${SF_SECRET}"', 'token: "${SF_TOKEN}"')
    office.desk.environ["SF_TOKEN"] = "given"
    office.mapped(TO, account=(ACCOUNT[0], text))
    office.moves(office.install())
    office.applied()
    assert (len(office.company.writes), office.company.logins) == (1, 0)
    office.moves(office.install(), "8.88")
    office.company.expired = 1
    with pytest.raises(ConfigurationError, match="does not accept the token"):
        office.applied()


def test_columns_of_other_names_are_written_by_their_fields_names(office: Office) -> None:
    office.desk.sql('alter table salesforce."Opportunity" rename "System_Size__c" to system_size_c')
    office.desk.sql('alter table salesforce."Opportunity" rename "Id" to id')
    tables = TO.replace("System_Size__c:", "system_size_c:").replace("key: [Id]", "key: [id]")
    named = "{object: Opportunity, id: id, fields: {system_size_c: System_Size__c}}"
    office.mapped(tables.replace("{object: Opportunity}", named))
    id_ = office.moves(office.install())
    office.applied()
    assert office.company.writes == [("PATCH", id_, {SIZE: 9.99})]


def test_a_table_without_the_ids_of_the_records_is_told(office: Office) -> None:
    office.mapped(TO.replace("{object: Opportunity}", "{object: Opportunity, id: Ident}"))
    with office.desk.engine.connect() as connection:
        findings = check_mapping(connection, office.desk.context.config, "default", Path("sync.yaml"))
    assert [one.found for one in findings if "Ident" in one.found] == [
        "no column Ident in salesforce.Opportunity"
    ]
    with pytest.raises(
        ConfigurationError, match=r"sync.yaml:\d+: tables.installs.salesforce.*no column Ident"
    ):
        office.desk.plan()


def test_the_doctor_looks_at_login_object_fields_and_rights(office: Office) -> None:
    check = next(one for one in checks(office.desk.context, None) if one.name == "Salesforce")
    assert not check.failed
    assert check.findings == []
    assert check.detail.startswith("accepts the login; Opportunity; 11 of 100,000 requests")
    office.company.locked, office.company.hidden = {SIZE}, {"Amount"}
    office.company.unique = False
    office.mapped(MADE)
    found = {
        (str(one.severity), one.what, one.found) for one in salesforce_check(office.desk.context).findings
    }
    assert found == {
        ("warning", f"tables.installs.fields.{SIZE}", f"Opportunity.{SIZE}, which our user may not change"),
        ("error", "tables.installs.fields.Amount", "no field Amount in Opportunity"),
        (
            "warning",
            "tables.installs.create_in",
            "crm, and Enerflo_Install_Id__c, by which no record of Opportunity is named alone",
        ),
    }
    office.mapped(DELETED)
    assert "records of Opportunity that are not deleted there" in str(
        salesforce_check(office.desk.context).findings
    )
    assert office.company.writes == []


@pytest.mark.parametrize("wrong", ["login", "object", "address"])
def test_the_doctor_tells_what_is_wrong_with_login_object_or_address(office: Office, wrong: str) -> None:
    if wrong == "login":
        office.desk.environ["SF_SECRET"] = "another"
    elif wrong == "address":
        office.desk.environ["SF_URL"] = "https://company.my.salesforce.com/services"
    office.mapped(TO.replace("object: Opp", "object: Op") if wrong == "object" else TO)
    check = salesforce_check(office.desk.context)
    words = {"login": "refuses the login", "object": "no object Oportunity", "address": "not of the form"}
    assert check.failed
    assert words[wrong] in check.detail


def test_a_secret_is_never_sent_unencrypted_to_another_machine(office: Office) -> None:
    office.desk.environ["SF_URL"] = "http://company.my.salesforce.com"
    office.mapped(TO)
    office.moves(office.install())
    with pytest.raises(ConfigurationError, match="without encryption"):
        office.applied()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("    salesforce: {object: Opportunity}\n", ""), "salesforce, and no object of Salesforce"),
        (("write_to: salesforce", "write_to: changes"), "an object of Salesforce that nothing writes"),
        (("{object: Opportunity}", "{object: Opportunity, delete: true}"), "true, and no delete_in"),
        (("{object: Opportunity}", '{object: "../Opportunity"}'), "object"),
        (
            ("{object: Opportunity}", "{object: Opportunity, fields: {Name: StageName}}"),
            "the field StageName, which Name and StageName both stand for",
        ),
    ],
)
def test_options_that_do_not_fit_each_other_are_told_with_their_line(
    office: Office, edit: tuple[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        office.mapped(TO.replace(*edit))
    assert words in str(caught.value)
    assert "sync.yaml:" in str(caught.value)


def test_where_changes_go_is_part_of_what_a_plan_was_approved_for(office: Office) -> None:
    office.moves(office.install())
    plan = office.desk.plan()
    office.mapped(TO.replace("object: Opportunity", "object: Opportunity, fields: {Other: Other__c}"))
    with pytest.raises(ConfigurationError, match="the mapping changed"):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")


def test_a_value_that_does_not_fit_the_copys_column_parks_its_record_alone(office: Office) -> None:
    odd, other = office.moves(office.install()), office.moves(office.install(1))
    plan = office.desk.plan()
    office.company.records[odd]["Permit_Approved_Date__c"] = "2026-01-01"
    office.company.records[odd]["Amount"] = "many"
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert report.parked == 1
    assert "does not fit the type" in str(report.reasons["parked"])
    assert [path for _, path, _ in office.company.writes] == [other]


def test_an_edit_within_the_tolerance_is_an_edit(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    theirs = office.company.records[id_][SIZE] + 0.002
    office.company.records[id_][SIZE] = theirs
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, office.company.records[id_][SIZE]) == (1, theirs)


def test_an_answer_about_other_records_writes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.moves(office.install())
    others = [
        office.company.shown(one, ["Id", "LastModifiedDate"]) for one in office.company.records.values()
    ]
    monkeypatch.setattr(office.company, "retrieve", lambda body: (200, others[-1:]))
    with pytest.raises(RetriableError, match="other records than those asked for"):
        office.applied()
    assert office.company.writes == []


def test_ids_of_15_characters_name_the_same_records(office: Office) -> None:
    office.desk.sql('update salesforce."Opportunity" set "Id" = left("Id", 15)')
    office.desk.plan()
    id_ = office.moves(office.install())
    office.applied()
    assert office.company.writes == [("PATCH", id_, {SIZE: 9.99})]


def test_the_schema_of_the_file_knows_the_new_options() -> None:
    schema: dict[str, Any] = json.loads(
        (Path(__file__).parents[3] / "include" / "config" / "sync.schema.json").read_text()
    )
    assert {"SalesforceObject", "SalesforceAccount"} <= set(schema["$defs"])


def test_a_configuration_without_salesforce_has_the_hash_that_it_had(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "include" / "config" / "sync.yaml"
    content = load_config(shipped, {}).tables_for("default")["installs"].content("installs")
    assert "salesforce" not in content
    assert "write_to" not in content


def test_the_command_says_what_went_and_what_stays_open(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    office.moves(office.install())
    office.company.limit, office.company.used = 100, 100
    office.applied()
    for name, value in office.desk.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(office.desk.context.config_path))
    monkeypatch.setenv("WAREHOUSE_URL", office.desk.engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr("sys.argv", ["enerflo-sync", "carry"])
    said = []
    for used in (100, 0):
        office.company.used = used
        with pytest.raises(SystemExit) as ended:
            main()
        said.append((ended.value.code, capsys.readouterr().out))
    (code, first), last = said
    assert code == 1
    assert "0 changes taken to the CRM." in first
    assert "1 stay open." in first
    assert "used up" in first
    assert last == (0, "1 change taken to the CRM.\n")


def test_a_row_with_an_id_that_is_none_is_parked_alone(office: Office) -> None:
    odd, other = office.moves(office.install()), office.moves(office.install(1))
    office.desk.sql('update salesforce."Opportunity" set "Id" = :odd where "Id" = :id', odd="old/1", id=odd)
    _, report = office.applied()
    assert report.parked == 1
    assert "15 or 18 letters and digits" in str(report.reasons["parked"])
    assert [path for _, path, _ in office.company.writes] == [other]


def test_the_doctor_names_a_link_and_a_new_value_without_a_field(office: Office) -> None:
    office.desk.sql(
        'alter table salesforce."Opportunity" rename "Enerflo_Install_Id__c" to enerflo_install_id_c'
    )
    office.mapped(
        MADE.replace("Enerflo_Install_Id__c", "enerflo_install_id_c").replace("{Record", "{The_Record")
    )
    found = {one.what: one for one in salesforce_check(office.desk.context).findings}
    link = found["tables.installs.join.enerflo_install_id_c"]
    assert "no field enerflo_install_id_c in Opportunity, so that only the copy says" in link.found
    assert "Opportunity.The_RecordTypeName, which our user may not fill" in str(
        found["tables.installs.on_insert.The_RecordTypeName"].found
    )
