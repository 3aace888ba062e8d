"""A section writes its own part of docs/benchmarks.md and leaves the others as they are."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.catalogue import PARTS, Part
from benchmarks.loads import Say
from benchmarks.page import document, parts_of, targets
from benchmarks.results import Report, Section, at_least
from benchmarks.runs import Told
from benchmarks.warehouse import Warehouse

SETTINGS = {"server_version": "18.4", "fsync": "on"}
NAMES = [one.name for one in PARTS]


class FakeWarehouse:
    def settings(self) -> dict[str, str]:
        return SETTINGS


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty page, and sections that are measured at once."""

    @contextmanager
    def no_server() -> Iterator[FakeWarehouse]:
        yield FakeWarehouse()

    path = tmp_path / "benchmarks.md"
    parts(monkeypatch, Part("one", "the first", 3, measured("one")), TWO)
    monkeypatch.setattr(command, "PAGE", path)
    monkeypatch.setattr(command, "embedded_warehouse", no_server)
    return path


def parts(monkeypatch: pytest.MonkeyPatch, *given: Part) -> None:
    monkeypatch.setattr(command, "PARTS", given)


def section(title: str, ratio: float | None = 9.0) -> Section:
    return Section(
        title, f"About {title}.", ("way", "s"), [["ours", "1.00"]], [at_least("dlt", 8, ratio)], []
    )


def measured(name: str, *failures: str, ratio: float | None = 9.0) -> Any:
    def measure(_warehouse: Warehouse, _options: Namespace, _say: Say) -> Report:
        return Report([section(name, ratio)], list(failures))

    return measure


def two(_warehouse: Warehouse, _options: Namespace, _say: Say) -> Report:
    """Return two headings in one part, of so many processes, and one target that is missed."""
    return Report([section("two, first"), section("two, then", 7.0)], [], "1 of 200 processes a line")


TWO = Part("two", "the second", 4, two)


def test_a_section_replaces_its_own_part_and_no_other(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command.main(["all", "--write"]) == 0
    before = parts_of(page.read_text())
    assert list(before) == ["one", "two"]
    parts(monkeypatch, Part("one", "the first", 3, measured("one, another day", ratio=None)), TWO)
    assert command.main(["one", "--quick", "--repeat", "1", "--write"]) == 0
    after = parts_of(page.read_text())
    assert after["two"] == before["two"]
    assert "## one, another day" in after["one"]
    assert "## one\n" not in page.read_text()


def test_a_section_that_is_new_comes_at_its_place(page: Path) -> None:
    assert command.main(["two", "--write"]) == 0
    assert list(parts_of(page.read_text())) == ["two"]
    assert "| `one` | not measured |" in page.read_text()
    assert command.main(["one", "--write"]) == 0
    assert list(parts_of(page.read_text())) == ["one", "two"]


def test_a_part_ends_with_the_run_that_it_is_of(page: Path) -> None:
    command.main(["one", "--quick", "--repeat", "2", "--write"])
    line = page.read_text().splitlines()[-1]
    assert line.startswith(
        "Run: `one` of `python -m benchmarks one --quick --repeat 2 --write`, quick, 2 rounds, ended 20"
    )
    for said in ("cores", "load average", "Python 3.", "psycopg", "server_version 18.4, fsync on"):
        assert said in line
    assert os.uname().nodename not in line


def test_the_head_says_of_each_part_when_it_was_measured_and_what_it_reached(page: Path) -> None:
    command.main(["all", "--write"])
    one, last = (Told.of(text) for text in parts_of(page.read_text()).values())
    assert one is not None
    assert last is not None
    assert (one.size, one.samples, last.samples) == ("full", "3 rounds", "1 of 200 processes a line")
    row = f"| `one` | {one.ended} | 3 rounds | {one.processor} | full | 1 of 1 |"
    assert row in page.read_text()
    assert "| 1 of 200 processes a line |" in page.read_text()
    assert page.read_text().index("| full | 1 of 2 |") < page.read_text().index("## How to read it")


def test_other_sizes_are_no_full_run(page: Path) -> None:
    command.main(["one", "--rows", "2000", "--write"])
    told = Told.of(page.read_text())
    assert told is not None
    assert told.size == "other sizes"


def test_failures_stand_in_their_part_and_in_the_head(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Part("one", "the first", 3, measured("one", "reladiff: boom\nand more", ratio=None))
    parts(monkeypatch, broken, TWO)
    assert command.main(["all", "--write"]) == 1
    written = parts_of(page.read_text())
    assert "- reladiff: boom and more" in written["one"]
    assert "boom" not in written["two"]
    assert "| 0 of 1, with failures |" in page.read_text()
    assert targets(written["one"]) == (0, 1)


def test_what_was_measured_before_an_error_is_on_the_page(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(_warehouse: Warehouse, _options: Namespace, _say: Say) -> Report:
        raise KeyboardInterrupt

    parts(monkeypatch, Part("one", "the first", 3, measured("one")), Part("two", "the second", 4, stops))
    with pytest.raises(KeyboardInterrupt):
        command.main(["all", "--write"])
    assert list(parts_of(page.read_text())) == ["one"]


def test_a_page_that_somebody_edited_is_refused_before_anything_is_measured(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["one", "--write"])
    page.write_text(page.read_text().replace("Run: ", "It ran: "))
    edited = page.read_text()
    assert command.main(["two", "--write"]) == 1
    assert "part '## one' does not end with the line 'Run:'" in capsys.readouterr().err
    assert page.read_text() == edited


def test_a_part_of_a_section_that_is_gone_stays(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command.main(["all", "--write"])
    parts(monkeypatch, TWO)
    command.main(["two", "--write"])
    assert list(parts_of(page.read_text())) == ["two", "one"]


def test_the_list_says_what_was_measured_and_what_is_estimated(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["one", "--write"])
    command.main(["two", "--quick", "--write"])
    page.write_text(page.read_text().replace("took 0.0 minutes", "took 2.5 minutes"))
    capsys.readouterr()
    assert command.main(["--list"]) == 0
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        ["one", "2.5", "minutes,", "measured   the first"],
        ["two", "4", "minutes,", "estimated    the second"],
        ["all", "6", "minutes", "each of them, one after the other"],
    ]


def test_nothing_is_written_unless_asked_for(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["one"]) == 0
    assert "| dlt | ≥ 8 x | 9.0 x | yes |" in capsys.readouterr().out
    assert not page.exists()


def test_all_sections_have_names_of_their_own_and_a_quick_run_leaves_airflow_out() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [one.name for one in PARTS if not one.quick] == ["latency"]


def test_the_head_alone_is_written_anew_for_a_section_that_the_page_does_not_know(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.main(["two", "--write"])
    before = parts_of(page.read_text())
    parts(monkeypatch, TWO, Part("three", "the third", 5, measured("three")))
    assert command.main(["--render"]) == 0
    assert "| `three` | not measured |" in page.read_text()
    assert parts_of(page.read_text()) == before


def test_the_page_of_the_repository_is_as_the_program_writes_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    stored = parts_of(text)
    assert set(stored) <= set(NAMES)
    assert document(stored, NAMES) == text, "python -m benchmarks --render"
