"""``migrate`` with declared columns, ``fields`` and what the doctor says of both."""

from __future__ import annotations

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
        "The declared column utility_company stays empty: no record has utility.compan;"
        " the nearest that some have is utility.company."
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
