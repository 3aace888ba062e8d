"""What the Makefile gives to the commands of its targets."""

from __future__ import annotations

import os
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
