"""docs/architecture.md: the rooms are those that there are, and its walks can be followed from file to file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_structure import ENGINE, ROOMS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MOST_FILES = 20


def walks() -> dict[str, list[str]]:
    found = {}
    for part in PAGE.partition("## Five walks")[2].split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        found[title] = re.findall(r"^\d+\. `([^`]+)`", body, re.MULTILINE)
    return found


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_of(path: str) -> str:
    for root in ("include/", "plugins/"):
        path = path.removeprefix(root)
    return path.removesuffix(".py").replace("/", ".")


def test_there_are_five_walks() -> None:
    assert len(walks()) == 5


@pytest.mark.parametrize("title", walks())
def test_a_walk_goes_from_file_to_file_and_is_short(title: str) -> None:
    files = walks()[title]
    assert 2 <= len(files) <= MOST_FILES
    assert len(set(files)) == len(files)
    known: set[str] = set()
    for at, name in enumerate(files):
        # Airflow begins a DAG, and a person a command.
        begins = at == 0 or name.startswith("dags/")
        assert begins or module_of(name) in known, f"{name} is imported by no file above it"
        known |= imports(ROOT / name)


def test_every_room_is_in_the_table_in_the_order_of_imports() -> None:
    table = PAGE.partition("## Rooms")[2].partition("## Five walks")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS
    folders = {path.name for path in ENGINE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders == {*ROOMS, "cli", "jobs"}
