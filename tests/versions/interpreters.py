"""The Pythons of this machine."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_ASKED = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"


@cache
def interpreter(version: str) -> str | None:
    """Return the path of a Python of this version that runs and can make environments; None where there is none.

    A command of the right name may be a shim of pyenv, which runs only the versions that are switched on.

    :param version: as ``3.13``.
    """
    for candidate in _candidates(version):
        try:
            asked = subprocess.run([candidate, "-c", _ASKED], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            continue
        found, _, path = asked.stdout.strip().partition(" ")
        if asked.returncode == 0 and found == version:
            return path
    return None


def _candidates(version: str) -> list[Path]:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted((path / "bin" for path in pyenv.glob(f"versions/{version}.*")), reverse=True)
    return [path for folder in folders if (path := folder / f"python{version}").is_file()]
