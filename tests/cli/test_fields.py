"""``migrate`` with declared columns, ``fields`` and what the doctor says of both."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.catalogue.report import FieldEntry, yaml_line
from tests.cli.conftest import SHIPPED, Run

COLUMNS = """
columns:
  installs:
    lender: {path: loan.lender, type: text, personal_data: false}
    utility_company: {path: utility.compan, type: text}

tables:
"""


@pytest.fixture
def declaring(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A configuration with two declared columns, one of whose paths has a typing mistake."""
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text().replace("\ntables:\n", COLUMNS))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    return path


def test_columns_are_made_filled_and_dropped_by_migrate(run: Run, declaring: Path) -> None:
    assert run("migrate").code == 0
    run("poll")
    out = run("migrate", "--json").json["columns"]
    assert (out["added"], out["filled"], out["kept"]) == ([], [], [])
    declaring.write_text(
        declaring.read_text().replace("lender: {path: loan.lender", "bank: {path: loan.lender")
    )
    out = run("migrate").out
    assert "Added to the mirror: installs.bank." in out
    assert "Filled from the stored versions: installs.bank; 59 rows of installs written." in out
    assert "Declared no longer, kept and still filled: installs.lender" in out
    assert "Dropped: installs.lender." in run("migrate", "--drop-columns").out


def test_the_catalogue_lists_every_path_with_what_is_made_of_it(run: Run, declaring: Path) -> None:
    run("migrate")
    run("poll")
    result = run("fields")
    assert result.code == 1
    lines = {words[0]: line for line in result.out.splitlines() if (words := line.split())}
    assert "crm.installs.status" in lines["status_name"]
    assert "lender" in lines["loan.lender"]
    assert "text" in lines["utility.company"]
    assert "100%" in lines["created_at"]
    assert "timestamp" in lines["created_at"]
    assert (
        "The declared column utility_company has the path utility.compan, which none of 59 records has;"
        " expected a path that records have. Did you mean utility.company?"
    ) in result.out
    document = run("fields", "--json").json
    by_path = {one["path"]: one for one in document["fields"]}
    assert by_path["utility.company"]["yaml"] == "utility_company: {path: utility.company, type: text}"
    assert by_path["cost.system_cost_gross"]["columns"] == ["contract_amount"]
    # One of the company's 60 is in quarantine.
    assert document["records"] == 59


def test_examples_name_nobody(run: Run, declaring: Path) -> None:
    run("migrate")
    run("poll")
    out = run("fields", "--all").out
    assert "example.com" not in out
    (email,) = [line for line in out.splitlines() if line.split()[:1] == ["customer.email"]]
    assert "a.aaaaaaaa.9" in email


def test_milestones_have_their_own(run: Run, declaring: Path) -> None:
    run("migrate")
    run("poll")
    result = run("fields", "milestones")
    lines = {words[0]: line for line in result.out.splitlines() if (words := line.split())}
    assert "crm.milestones.title" in lines["milestone.title"]
    assert "all_milestones" not in run("fields", "--all").out


def test_what_appeared_and_what_vanished_is_told(run: Run, declaring: Path, warehouse_url: str) -> None:
    run("migrate")
    run("poll")
    engine = sa.create_engine(warehouse_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("update enerflo.install_versions set first_seen_at = now() - interval '60 days'")
        )
        connection.execute(
            sa.text(
                "insert into enerflo.install_versions select account, install_id, 'new', (raw - 'utility') ||"
                """ '{"loan": {"rate": 4.5}}', now(), observed_by, evidence from enerflo.install_versions"""
            )
        )
        connection.execute(sa.text("update enerflo.installs set content_hash = 'new'"))
    engine.dispose()
    out = run("fields").out
    assert "Appeared since" in out
    assert "loan.rate  ->  loan_rate: {path: loan.rate, type: number}" in out
    today, then = (datetime.now(UTC) - timedelta(days=days) for days in (0, 60))
    listed = run("fields", "--all").out.partition("Appeared since")[0].splitlines()
    lines = {words[0]: line for line in listed if (words := line.split())}
    assert f"since {today:%Y-%m-%d}" in lines["loan.rate"]
    assert f"since {then:%Y-%m-%d} until {today:%Y-%m-%d}" in lines["loan.lender"]
    vanished = out.partition("Vanished since")[2]
    assert "utility.company, until" in vanished
    assert "loan.lender, until" in vanished
    document = run("fields", "--json").json
    assert document["appeared"] == ["loan.rate"]
    assert document["vanished"] == ["loan.lender", "utility.company", "utility.id"]


def test_the_doctor_names_a_path_that_no_record_has_with_the_nearest(run: Run, declaring: Path) -> None:
    run("migrate")
    run("poll")
    result = run("doctor")
    assert "columns: 2 declared, 1 filled" in result.out.replace("\n", " ")
    assert "columns.installs.utility_company.path" in result.out
    assert "Did you mean utility.company?" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("line", "option", "found", "next_step"),
    [
        (
            "{path: loan.lender, type: integer}",
            "type",
            "the type integer, but {misfits} of {present} values at loan.lender are no whole numbers: most are"
            " text, expected the type of most values.",
            "Write type: text.",
        ),
        (
            "{path: utility, type: text}",
            "path",
            "the path utility, but {misfits} of {present} values at utility are objects or lists, expected the"
            " path of a single value, or type: json.",
            "Write one of utility.company, utility.id, or type: json.",
        ),
        (
            "{path: all_milestones.0, type: number}",
            "path",
            "the path all_milestones.0, but {misfits} of {present} values at all_milestones.0 are objects or"
            " lists, expected the path of a single value, or type: json.",
            "Write one of all_milestones.0.",
        ),
        (
            "{path: all_milestones.title, type: text}",
            "path",
            "the path all_milestones.title, but all_milestones is a list in {misfits} of 59 records, expected a"
            " position in the list after its name, counted from 0.",
            "Write all_milestones.0.title.",
        ),
        (
            "{path: loan.lender.name, type: text}",
            "path",
            "the path loan.lender.name, but loan.lender is a single value in {misfits} of 59 records, expected"
            " the path of a value, with nothing after it.",
            "Write loan.lender.",
        ),
        (
            "{path: loan.lender, type: text, max_length: 2}",
            "max_length",
            "the limit of 2 characters, but {misfits} of {present} values at loan.lender are longer, expected a"
            " limit above the length of most values.",
            "Raise max_length.",
        ),
    ],
)
def test_a_path_or_type_that_fits_few_records_is_told_by_doctor_and_fields(
    run: Run, declaring: Path, line: str, option: str, found: str, next_step: str
) -> None:
    right = "{path: loan.lender, type: text, personal_data: false}"
    text = declaring.read_text().replace(right, line).replace("utility.compan,", "utility.company,")
    declaring.write_text(text)
    at = text[: text.rindex(line)].count("\n") + 1
    assert run("migrate").code == 0
    run("poll")
    (told,) = [
        one
        for check in run("doctor", "--json").json["checks"]
        if check["name"] == "columns"
        for one in check["findings"]
    ]
    numbers = re.findall(r"(\d+) of (\d+)", told["found"])
    misfits, present = numbers[0]
    expected = found.format(misfits=misfits, present=present)
    assert f"found {told['found']}, expected {told['expected']}." == f"found {expected}"
    assert told["next_step"].startswith(next_step)
    assert (told["line"], told["what"]) == (at, f"columns.installs.lender.{option}")
    assert int(misfits) * 2 > int(present) or "records" in told["found"]
    fields = run("fields")
    assert fields.code == 1
    assert f"The declared column lender has {told['found']}; expected {told['expected']}." in fields.out


def test_a_column_that_fits_is_no_finding_though_few_records_have_a_value(run: Run, declaring: Path) -> None:
    text = declaring.read_text().replace("utility.compan,", "utility.company,")
    declaring.write_text(text)
    run("migrate")
    run("poll")
    (check,) = [one for one in run("doctor", "--json").json["checks"] if one["name"] == "columns"]
    assert check["findings"] == []
    assert run("fields").code == 0


def test_migrate_says_of_how_many_rows_a_column_has_a_value(run: Run, declaring: Path) -> None:
    run("migrate")
    run("poll")
    text = declaring.read_text().replace(
        "lender: {path: loan.lender, type: text", "bank: {path: loan.lender, type: date"
    )
    declaring.write_text(text)
    out = run("migrate").out
    assert "installs.bank has a value in 0 of 59 rows." in out
    assert "enerflo-sync doctor says whether path and type fit what the records have." in out


def test_another_type_of_a_column_that_was_made_is_told_with_its_line(run: Run, declaring: Path) -> None:
    run("migrate")
    text = declaring.read_text().replace("loan.lender, type: text", "loan.lender, type: json")
    declaring.write_text(text)
    at = text[: text.rindex("lender: {path")].count("\n") + 1
    for command in ("migrate", "doctor"):
        told = " ".join((found := run(command)).err.split()) + " ".join(found.out.split())
        assert found.code == 2 or command == "doctor"
        assert f"sync.yaml:{at}: columns.installs.lender" in told
        assert "remove the line, run enerflo-sync migrate --drop-columns, and declare it again" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("Lender: {path: loan.lender, type: text}", "the column name 'Lender'"),
        ("select: {path: loan.lender, type: text}", "the reserved word select"),
        ("status_name: {path: loan.lender, type: text}", "a second column status_name of enerflo.installs"),
        ("lender: {path: loan..lender, type: text}", "the path 'loan..lender'"),
        ("lender: {path: loan.lender, type: money}", "the text 'money'"),
        ("lender: {type: text}", "path (Where the value stands"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_line(run: Run, declaring: Path, wrong: str, told: str) -> None:
    right = "lender: {path: loan.lender, type: text, personal_data: false}"
    text = declaring.read_text().replace(right, wrong)
    declaring.write_text(text)
    line = text[: text.rindex(wrong)].count("\n") + 1
    result = run("migrate")
    assert result.code == 2
    assert f"sync.yaml:{line}: columns.installs" in result.err.replace("\n", "")
    assert told in " ".join(result.err.split())


def test_a_mapped_column_whose_line_is_gone_is_told(run: Run, declaring: Path) -> None:
    run("migrate")
    field = "      panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}\n"
    mapped = field + "      bank: {enerflo: lender, type: text}\n"
    line = "    lender: {path: loan.lender, type: text, personal_data: false}\n"
    text = declaring.read_text().replace(field, mapped)
    declaring.write_text(text)
    assert "found the column lender" not in run("migrate").err
    text = text.replace(line, "")
    declaring.write_text(text)
    at = text[: text.index("enerflo: lender,")].count("\n") + 1
    for command in ("migrate", "reconcile"):
        result = run(command)
        assert result.code == 2
        told = " ".join(result.err.split())
        assert (
            f"sync.yaml:{at}: tables.installs.fields.bank.enerflo: found the column lender, expected" in told
        )
        assert "or a line of its own: columns.installs.lender: {path: …, type: …}" in told


def test_a_mapped_column_with_a_typing_mistake_is_told(run: Run, declaring: Path) -> None:
    field = "      panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}\n"
    mapped = field + "      lender: {enerflo: lendr, type: text}\n"
    declaring.write_text(declaring.read_text().replace(field, mapped))
    result = run("migrate")
    assert result.code == 2
    assert "found the column lendr" in " ".join(result.err.split())
    assert "did you mean lender?" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (("loan", "lender"), "loan_lender: {path: loan.lender, type: text}"),
        (("files", "0", "Type"), "files_type: {path: files.0.Type, type: text}"),
        (("integrations", "Enerflo V2"), None),
        (("integrations", "a.b"), None),
    ],
)
def test_a_line_is_offered_only_of_a_path_that_can_be_declared(
    steps: tuple[str, ...], line: str | None
) -> None:
    entry = FieldEntry(
        path=".".join(steps),
        steps=steps,
        types={"text": 1},
        filled=1,
        example="a",
        first_seen_at=None,
        last_seen_at=None,
        columns=(),
        mapped_to=(),
    )
    assert yaml_line(entry) == line
