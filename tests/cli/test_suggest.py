"""``enerflo-sync suggest`` writes the lines that settle differences into a copy of sync.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import SHIPPED, Run
from tests.cli.test_doctor_match import demo

UNTIDY = (
    "alter table crm.notes alter enerflo_note_id type text",
    "update crm.notes set enerflo_note_id = '00' || enerflo_note_id where enerflo_note_id::bigint % 2 = 0",
    "update crm.installs set deal_id = upper(deal_id)",
    # No option accepts this one.
    "update crm.installs set customer_name = replace(customer_name, ' ', '-')",
)


@pytest.fixture
def file(tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text())
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    return path


def test_the_copy_settles_what_differs_only_in_spelling(
    run: Run, file: Path, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo(run, warehouse_url, *UNTIDY)
    before, text = differing(run), file.read_text()
    result = run("suggest")
    copy = file.with_name("sync.suggested.yaml")
    assert (result.code, result.err) == (0, "")
    assert f"{file}:127: tables.installs.fields.deal_id: " in result.out
    assert f"Wrote {copy}: {file} with 2 lines changed." in result.out
    assert result.out.rstrip().endswith(f"enerflo-sync what-if {copy}")
    assert file.read_text() == text
    changed = [
        new.split(":")[0].strip()
        for old, new in zip(text.splitlines(), copy.read_text().splitlines(), strict=True)
        if old != new
    ]
    assert changed == ["deal_id", "join"]
    assert run("what-if", str(copy)).code == 0
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(copy))
    # Names with other punctuation need a view.
    assert (before, differing(run)) == (
        {("installs", "customer_name"), ("installs", "deal_id")},
        {("installs", "customer_name")},
    )
    assert run("suggest").out.splitlines()[-1] == (
        "No line was found that settles a difference of the rows that were looked at."
    )


def differing(run: Run) -> set[tuple[str, str]]:
    """Return the columns that differ in more than their spelling, of installs that are not voided."""
    report = run("reconcile", "--full", "--format", "json").json
    return {
        (table["table_name"], one["field"])
        for table in report["tables"]
        for one in table["by_field"]
        if one["by_cause"].keys() - {"equal_after_normalisation", "voided"}
    }


def test_programs_get_the_lines_and_the_copy_where_they_want_it(
    run: Run, file: Path, tmp_path: Path, warehouse_url: str
) -> None:
    demo(run, warehouse_url, UNTIDY[2])
    out = tmp_path / "other.yaml"
    found = run("suggest", "--json", "--out", str(out)).json
    (line,) = found["lines"]
    assert (line["file"], line["what"], line["written"]) == (
        str(file),
        "tables.installs.fields.deal_id",
        True,
    )
    assert yaml.safe_load(line["write"])["deal_id"]["fold_case"] is True
    assert text_of(line["line"], file).strip().startswith("deal_id:")
    assert (found["copies"], found["what_if"], found["not_looked_at"]) == (
        {str(file): str(out)},
        str(out),
        {},
    )
    again = run("suggest", "--out", str(out))
    assert (again.code, str(out) in again.err, "there already" in again.err) == (2, True, True)


def deal_line(file: Path) -> str:
    """Return the line by which the file maps an install's deal."""
    return next(one for one in file.read_text().splitlines() if one.strip().startswith("deal_id:"))


def text_of(line: int, file: Path) -> str:
    return file.read_text().splitlines()[line - 1]


def test_where_nothing_was_polled_nothing_is_suggested_and_it_says_why(run: Run, file: Path) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("migrate")
    result = run("suggest")
    assert result.code == 0
    assert "installs: not previewed: the mirror holds no installs yet: poll first." in result.out
    assert "No line was found" in result.out
    assert sorted(path.name for path in file.parent.iterdir()) == ["sync.yaml"]
    run("poll")
    file.write_text(file.read_text().replace("      deal_id: {", "      deal: {"))
    assert "installs: its mapping does not fit the live table" in run("suggest").out


def test_an_option_that_yaml_shares_is_named_and_left_to_a_person(
    run: Run, file: Path, warehouse_url: str
) -> None:
    demo(run, warehouse_url, UNTIDY[2])
    text, line = file.read_text(), deal_line(file)
    name, _, value = line.partition(": ")
    other = f"  other:\n    tables:\n      installs:\n        fields:\n          deal_id: &deal {value}\n"
    first = text.replace(line, f"{name}: *deal").replace("\naccounts:\n", f"\naccounts:\n{other}")
    file.write_text(first)
    result = run("suggest")
    assert "(write it yourself: the option contains a variable, or YAML shares it" in result.out
    assert sorted(path.name for path in file.parent.iterdir()) == ["sync.yaml"]


def test_line_ends_stay_and_a_line_that_counts_for_other_accounts_says_so(
    run: Run, file: Path, warehouse_url: str
) -> None:
    demo(run, warehouse_url, UNTIDY[2])
    other = "\naccounts:\n  other: {mode: report}\n"
    file.write_bytes(file.read_text().replace("\naccounts:\n", other).replace("\n", "\r\n").encode())
    result = run("suggest")
    assert "These lines count for every account; only the rows of default were looked at." in result.out
    copy = file.with_name("sync.suggested.yaml").read_bytes()
    assert copy.count(b"\r\n") == copy.count(b"\n") == file.read_bytes().count(b"\n")


def test_the_line_of_an_accounts_own_file_goes_into_a_copy_of_that(
    run: Run, file: Path, warehouse_url: str
) -> None:
    demo(run, warehouse_url, UNTIDY[2])
    line = deal_line(file)
    folder = file.parent / "accounts"
    folder.mkdir()
    own = folder / "north.yaml"
    own.write_text(
        "base_url: ${ENERFLO_BASE_URL}\nwarehouse_url: ${WAREHOUSE_URL}\napi_key: ${ENERFLO_API_KEY}\n"
        f"tables:\n  installs:\n    fields:\n{line}\n"
    )
    polled = run("poll", "--account", "north")
    assert polled.code != 2, polled.err
    result = run("suggest", "--account", "north")
    assert result.code == 0, result.err
    copy = file.with_name("north.suggested.yaml")
    assert f"Wrote {copy}: {own} with 1 line changed." in result.out
    assert "what-if" not in result.out
    assert "fold_case: true" in copy.read_text()
    assert "every account" not in result.out
