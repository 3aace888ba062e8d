"""The runbook has a section for each alert and each code, and none besides; what it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.cli.app import app
from enerflo_sync.cli.output import Exit
from enerflo_sync.crm.routes import EVENTS
from enerflo_sync.gaps.report import HoleKind
from enerflo_sync.inbox.quarantine_items import ItemKind
from enerflo_sync.receiver.outcomes import PostOutcome

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "runbook.md").read_text()
# Ended by a signal: the shell's number for Ctrl-C.
INTERRUPTED = 130


def sections(text: str = TEXT) -> Mapping[str, Mapping[str, str]]:
    """Return by part (second level) the text of each section (third level)."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        own = re.split(r"^### ", body, flags=re.M)[1:]
        found[title] = {one.partition("\n")[0]: one.partition("\n")[2] for one in own}
    return found


def anchor(heading: str) -> str:
    """Return the name by which a page leads to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def rules() -> set[str]:
    text = yaml.safe_load((ROOT / "docs" / "monitoring" / "alerts.yaml").read_text())
    return {
        rule["annotations"]["runbook"].partition("#")[2]
        for group in text["groups"]
        for rule in group["rules"]
    }


def error_classes() -> set[str]:
    """Return every class of error that descends from ours, by the names of its bases."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for folder in (ROOT / "include" / "enerflo_sync", ROOT / "plugins")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    found = {"EnerfloSyncError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found


def test_alerts_have_a_section_each_and_no_other_is_there() -> None:
    states = {str(event) for event, info in EVENTS.items() if not info.is_news}
    assert set(sections()["Alerts"]) == states | rules()
    assert len(rules() - states) > 5


def test_classes_of_errors_have_a_section_each_and_no_other_is_there() -> None:
    found = error_classes()
    assert len(found) > 15
    assert set(sections()["Errors"]) == found


def test_exit_codes_have_a_section_each_and_no_other_is_there() -> None:
    codes = {int(code) for code in Exit} | {INTERRUPTED}
    assert set(sections()["Exit codes"]) == {f"Exit code {code}" for code in codes}
    used = re.findall(r"SystemExit\((\d+)\)", (ROOT / "include/enerflo_sync/cli/app.py").read_text())
    assert {int(code) for code in used} <= codes


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        ("quarantine", {str(kind) for kind in ItemKind}),
        ("changes", {str(one) for one in Decision} - {"applied"}),
        ("receiver", {str(one) for one in PostOutcome} - {"stored"}),
        ("gaps", {str(kind) for kind in HoleKind}),
    ],
)
def test_what_is_refused_has_a_row_for_each_code_and_no_other(section: str, codes: set[str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", sections()["Refusals"][section], flags=re.M)
    assert sorted(rows) == sorted(codes)


def test_the_status_of_an_outcome_is_the_receivers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", sections()["Refusals"]["receiver"], flags=re.M)
    assert {name: int(status) for name, status in rows} == {
        str(one): one.status for one in PostOutcome if one is not PostOutcome.STORED
    }


@pytest.mark.parametrize("part", ["Alerts", "Errors", "Exit codes"])
def test_a_section_says_symptom_check_and_fix(part: str) -> None:
    for name, text in sections()[part].items():
        for word in ("Symptom", "Check", "Fix"):
            assert f"- **{word}:** " in text, name


def test_every_place_that_sends_people_to_the_runbook_names_a_section_of_it() -> None:
    headings = {name for part in sections().values() for name in part}
    named = []
    for folder in ("include", "plugins", "dags"):
        for path in (ROOT / folder).rglob("*.py"):
            text = re.sub(r'"\s*\n\s*f?"', "", path.read_text())
            named += re.findall(r"docs/runbook\.md, ([\w.]+\w)", text)
            named += re.findall(r"See the runbook, (\w+)", text)
    assert len(named) >= 3
    assert set(named) <= headings


def test_every_link_inside_the_runbook_leads_to_a_heading() -> None:
    headings = {anchor(line.lstrip("# ")) for line in TEXT.splitlines() if line.startswith("#")}
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert len(links) > 15
    assert links <= headings
    for page in (ROOT / "docs").glob("*.md"):
        assert set(re.findall(r"\(runbook\.md#([^)]+)\)", page.read_text())) <= headings, page.name


def commands() -> Iterator[list[str]]:
    for line in re.findall(r"`(enerflo-sync [^`]+)`", TEXT.replace("\n", " ")):
        yield line.split()[1:]


def test_every_command_that_the_runbook_names_is_there_with_its_options() -> None:
    group = get_command(app)
    found = list(commands())
    assert len(found) > 20
    for words in found:
        command = group
        for word in words:
            inner = getattr(command, "get_command", None)
            if inner is None or word.startswith("-"):
                break
            command = inner(None, word)
            assert command is not None, " ".join(words)
        options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        asked = {word for word in words if word.startswith("--")}
        assert asked <= options, " ".join(words)
