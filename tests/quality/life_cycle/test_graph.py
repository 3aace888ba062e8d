"""Mistakes in life_cycle.yaml are said by file, line, and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sandbox.catalogue import MILESTONES
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.quality.life_cycle.graph import (
    LIFE_CYCLE_FILE,
    CheckId,
    folded,
    json_schema,
    load_life_cycle,
)
from tests.quality.conftest import CONFIG
from tests.quality.life_cycle.conftest import CHECKS, SHIPPED, STEPS

# What is written instead of what, what is said, and what stands on the line that is named.
MISTAKES = [
    (
        "    after: [engineering]\n",
        "    after: [engineerin]\n",
        "steps.permitting.after.0: found the unknown step engineerin, expected one of",
        "[engineerin]",
    ),
    ("after: [installation]", "after: [Install]", "did you mean installation?", "[Install]"),
    (
        "after: [permitting]",
        "after: [installation]",
        "steps.installation.after.0: found an edge of the step to itself, expected another step.",
        "after: [installation]",
    ),
    (
        "after: [site_survey]",
        "after: [inspection]",
        "steps.engineering.after: found a step that waits for itself (inspection), expected a way to it",
        "after: [inspection]",
    ),
    ("within_days: 60", "within_days: -1", "within_days: found -1, expected at least 0", "-1"),
    ("within_days: 60", "within_days: soon", "within_days: found the text 'soon', expected", "soon"),
    ("hours: 24", "hours: -2", "tolerance_hours: found -2, expected at least 0", "hours: -2"),
    ("    may_skip: true", "    may_skp: true", "did you mean may_skip?", "may_skp"),
    ("  step_skipped:", "  step_skiped:", "did you mean step_skipped?", "step_skiped:"),
    ("  permitting:", "  Permitting:", "lower-case letters, digits and _, a letter first", "  Permitting:"),
    ("Permit, ", "' INSPECTION', ", "which means permitting as well", "Final Inspection"),
    ("Permit, ", "'  ', ", "found an empty title, expected the title of a milestone", "'  '"),
    ("[Installation, Install, Construction]", "[]", "expected at least one entry", "titles: []"),
    (
        "  step_skipped:\n",
        "  step_skipped:\n    severity: hold\n",
        "checks.step_skipped.severity: found hold, expected warn: a finding of the life-cycle holds nothing",
        "severity: hold",
    ),
    ("  step_skipped:\n", "  step_skipped:\n    severity: warm\n", "did you mean warn?", "severity: warm"),
]


@pytest.mark.parametrize(("old", "new", "said", "where"), MISTAKES, ids=[said for _, _, said, _ in MISTAKES])
def test_a_mistake_is_said_with_its_line(tmp_path: Path, old: str, new: str, said: str, where: str) -> None:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "life_cycle.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidConfigurationError) as raised:
        load_life_cycle(path, {})
    problems = [problem for problem in raised.value.problems if said in str(problem)]
    assert problems, str(raised.value)
    assert str(problems[0]).startswith(f"{path}:{problems[0].line}: ")
    assert where in path.read_text().splitlines()[problems[0].line - 1]


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "life_cycle.yaml"
    steps = STEPS.replace("after: [survey]", "after: [survey, desing]").replace("[Build]", "[Build, permit]")
    path.write_text(steps + CHECKS)
    with pytest.raises(InvalidConfigurationError) as raised:
        load_life_cycle(path, {})
    assert [problem.place for problem in raised.value.problems] == [
        "steps.design.after.1",
        "steps.build.titles.1",
    ]


def test_every_step_of_a_circle_and_behind_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "life_cycle.yaml"
    path.write_text(STEPS.replace("[Survey]}", "[Survey], after: [permit]}") + CHECKS)
    with pytest.raises(InvalidConfigurationError) as raised:
        load_life_cycle(path, {})
    waiting = {problem.place.split(".")[1] for problem in raised.value.problems}
    assert waiting == {"survey", "design", "permit", "utility", "build"}


def test_a_tangled_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "life_cycle.yaml"
    layers = [[f"s{layer}_{at}" for at in range(4)] for layer in range(9)]
    steps = "".join(
        f"  {name}: {{titles: [{name}], after: [{', '.join(layers[at - 1] if at else [])}]}}\n"
        for at, layer in enumerate(layers)
        for name in layer
    )
    path.write_text(f"version: 1\nsteps:\n{steps}{CHECKS}")
    with pytest.raises(InvalidConfigurationError, match=r":2: steps: found more than 2,000 ways"):
        load_life_cycle(path, {})


def test_more_steps_than_bits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "life_cycle.yaml"
    steps = "".join(f"  s{at}: {{titles: [t{at}]}}\n" for at in range(61))
    path.write_text(f"version: 1\nsteps:\n{steps}{CHECKS}")
    with pytest.raises(InvalidConfigurationError, match="found 61 steps, expected at most 60"):
        load_life_cycle(path, {})


def test_the_shipped_life_cycle_names_the_milestones_of_the_sandbox_and_makes_every_check() -> None:
    life_cycle = load_life_cycle(SHIPPED, {})
    known = {folded(title) for step in life_cycle.steps.values() for title in step.titles}
    assert {folded(milestone.title) for milestone in MILESTONES} <= known
    assert list(life_cycle.checks) == list(CheckId)


def test_the_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    assert LIFE_CYCLE_FILE.find(tmp_path / "sync.yaml", {}) == SHIPPED
    own = tmp_path / "life_cycle.yaml"
    own.write_text(SHIPPED.read_text())
    assert LIFE_CYCLE_FILE.find(tmp_path / "sync.yaml", {}) == own
    assert LIFE_CYCLE_FILE.find(tmp_path / "sync.yaml", {"ENERFLO_LIFE_CYCLE": "/else"}) == Path("/else")
    with pytest.raises(ConfigurationError, match=r"the life-cycle cannot be read.*ENERFLO_LIFE_CYCLE"):
        load_life_cycle(tmp_path / "none.yaml", {})


def test_what_decides_changes_the_hash_and_wording_does_not(tmp_path: Path) -> None:
    statuses = load_config(CONFIG / "sync.yaml", {}).statuses
    path = tmp_path / "life_cycle.yaml"

    def hashed(old: str = "", new: str = "") -> str:
        path.write_text((STEPS + CHECKS).replace(old, new) if old else STEPS + CHECKS)
        return load_life_cycle(path, {}).hash(statuses)

    assert hashed() == hashed("reason: Skipped.", "reason: Left out.")
    others = [("may_skip: true", "may_skip: false"), ("within_days: 20", "within_days: 21"), ("Hold", "Ice")]
    assert len({hashed(), *(hashed(*pair) for pair in others)}) == 4
    voided = statuses.model_copy(update={"voided": [7]})
    assert load_life_cycle(path, {}).hash(statuses) != load_life_cycle(path, {}).hash(voided)


def test_the_schema_names_the_options() -> None:
    schema = json_schema()
    assert {"titles", "after", "may_skip", "may_reopen", "within_days"} == set(
        schema["$defs"]["StepOptions"]["properties"]
    )
