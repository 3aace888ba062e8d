"""What the Makefile gives to the commands of its targets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_commands_keep_their_byte_code_where_the_machine_forbids_it() -> None:
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OF_THE_MACHINE": "1"}
    command = ["make", "--eval", "asked: ; @env", "asked"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    given = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "OF_THE_MACHINE" in given
    assert "PYTHONDONTWRITEBYTECODE" not in given


def test_the_tests_that_targets_run_are_there_and_each_target_has_a_line_of_help() -> None:
    text = (ROOT / "Makefile").read_text()
    files = re.findall(r"\btests/[\w/]+\.py\b", text)
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = {line.split()[1] for line in done.stdout.splitlines()}
    assert told == set(targets.split()) - {"sync"}
