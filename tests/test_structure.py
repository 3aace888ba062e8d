"""The house's two import rules (design §3): the engine is free of Airflow, and rooms only look upwards.

And what the tools leave behind stays out of the project, and the tests that hold a promise are there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "include" / "enerflo_sync"
ROOMS = """enerflo drop warehouse resources mirror inbox rebuild gaps backfill crm catalogue receiver reconcile agreed copies outbox plan apply explain quality retention notify pages""".split()
# A distribution of its own: the same misreading of the vendor must not sit on both sides.
SIMULATED = ("enerflo_sandbox", "enerflo_demo")
# They bring the rooms together.
ABOVE_ALL = {"cli", "jobs", "frames"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list[Path]:
    return sorted(ENGINE.rglob("*.py"))


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "enerflo_sync" and len(parts) > 1 else None


def violations(path: Path, names: Iterator[str]) -> list[str]:
    home = path.relative_to(ENGINE).parts[0].removesuffix(".py")
    found = []
    for name in names:
        room = room_of(name)
        if name.split(".")[0] in {"airflow", *SIMULATED}:
            found.append(f"{path.name} imports {name}")
        elif home in ABOVE_ALL or room is None or room == home:
            continue
        elif room in ABOVE_ALL:
            found.append(f"{path.name} in {home} imports {name}")
        elif home not in ROOMS:
            if room in ROOMS:
                found.append(f"{path.name} is a foundation and imports {name}")
        elif room in ROOMS and ROOMS.index(room) > ROOMS.index(home):
            found.append(f"{path.name} in {home} imports {name}")
    return found


def test_the_walk_sees_the_whole_engine() -> None:
    assert len(modules()) > 40
    assert {path.relative_to(ENGINE).parts[0] for path in modules()} >= {"enerflo", "mirror"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ENGINE)))
def test_no_room_imports_airflow_or_a_room_below_it(path: Path) -> None:
    assert violations(path, imported(path)) == []


SANDBOX = ENGINE.parent / "enerflo_sandbox"


@pytest.mark.parametrize("path", sorted(SANDBOX.rglob("*.py")), ids=lambda path: path.stem)
def test_the_simulated_company_knows_of_the_engine_only_its_clock_and_its_errors(path: Path) -> None:
    of_engine = {name for name in imported(path) if name.startswith("enerflo_sync.")}
    allowed = ("enerflo_sync.clock", "enerflo_sync.errors")
    assert [name for name in of_engine if not name.startswith(allowed)] == []


@pytest.mark.parametrize(
    ("home", "name", "allowed"),
    [
        ("mirror/poll.py", "enerflo_sync.enerflo.client", True),
        ("mirror/poll.py", "enerflo_sync.errors", True),
        ("mirror/poll.py", "enerflo_sync.crm.config", False),
        ("mirror/poll.py", "airflow.sdk", False),
        ("mirror/poll.py", "enerflo_sync.jobs.context", False),
        ("reconcile/reconciliation.py", "enerflo_sandbox.world", False),
        ("cli/plan.py", "enerflo_demo.story", False),
        ("masking.py", "enerflo_sync.mirror.poll", False),
        ("jobs/plan.py", "enerflo_sync.reconcile.reconciliation", True),
    ],
)
def test_the_rule_can_fail(home: str, name: str, allowed: bool) -> None:
    assert (violations(ENGINE / home, iter([name])) == []) is allowed


_PROCESS_WIDE = re.compile(r"setswitchinterval|gc\.(freeze|unfreeze|set_threshold|disable)\(|mallopt|nice\(")


def test_settings_of_the_whole_process_are_made_by_entry_points_alone() -> None:
    made = [
        path.relative_to(ENGINE).as_posix() for path in modules() if _PROCESS_WIDE.search(path.read_text())
    ]
    assert made == ["process.py"]
    callers = {
        path.relative_to(ENGINE).parts[0]
        for path in modules()
        if any(name.startswith("enerflo_sync.process") for name in imported(path))
    }
    assert callers == {"cli"}


# The first migration makes all tables at once, and is never written again.
_LONGER = {"warehouse/migrations/versions/0001_mirror_and_runs.py"}
LONGEST = 400


def test_no_file_is_too_long_to_read() -> None:
    folders = (
        ENGINE,
        SANDBOX,
        ENGINE.parent / "enerflo_demo",
        ROOT / "plugins",
        ROOT / "dags",
        ROOT / "benchmarks",
    )
    long = {
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in folder.rglob("*.py")
        if len(path.read_text().splitlines()) > LONGEST
    }
    assert long == _LONGER


def test_no_two_files_import_each_other() -> None:
    names = {module_name(path): path for path in modules()}
    arrows = {
        name: {found for found in imported_by(path, names.keys()) if found != name}
        for name, path in names.items()
    }
    circle: list[str] = []
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


def module_name(path: Path) -> str:
    parts = path.relative_to(ENGINE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path, known: Collection[str]) -> Iterator[str]:
    """Yield which known modules a module imports, also within functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        for name in names:
            full = f"{node.module}.{name}" if isinstance(node, ast.ImportFrom) else name
            found = full if full in known else full.rpartition(".")[0]
            if found in known:
                yield found


def test_what_make_makes_is_not_of_the_project() -> None:
    clean = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "rm -rf" in line)
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert set(clean.split()[2:]) <= ignored


def test_every_table_of_the_catalogue_says_what_it_holds() -> None:
    page = (ROOT / "docs" / "tables.md").read_text()
    tables = re.findall(r"^## (\S+)\n\n(.*)$", page, re.MULTILINE)
    assert len(tables) > 40
    assert [name for name, purpose in tables if not purpose.endswith(".")] == []


def test_every_test_that_a_promise_names_is_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    there = {
        node.name
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = {word for word in re.findall(r"`([^`]+)`", text) if word.startswith(("test_", "tests/"))}
    assert len(named) > 100
    assert [
        word
        for word in sorted(named)
        if not (word in there if word.startswith("test_") else (ROOT / word).exists())
    ] == []


def test_every_row_of_the_promises_names_a_test() -> None:
    rows = promises()
    assert len(rows) > 80
    assert [row for row in rows if not re.search(r"`tests?[_/]|the same|sync\.runs|simulation", row)] == []


def promises() -> list[str]:
    """Return the rows of the tables whose last column says what holds them."""
    rows, of_promises = [], False
    for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines():
        if not line.startswith("|"):
            of_promises = False
        elif line.lower().startswith("| promise |"):
            of_promises = True
        elif of_promises and not line.startswith("|---"):
            rows.append(line)
    return rows
