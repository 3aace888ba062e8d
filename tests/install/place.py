"""A machine of its own to install on, as far as a folder, an environment and its variables make one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "CHANGELOG.md", "include", "plugins", "dags")
# A file of requirements that `make versions` names: other versions than the locked ones.
OTHER_VERSIONS = "ENERFLO_TEST_REQUIREMENTS"


@dataclass(frozen=True)
class Place:
    """A folder, and the environment variables of the commands that run there."""

    folder: Path
    environ: dict[str, str]

    def sh(self, script: str, **more: str) -> str:
        """Run a script and return its standard output; its exit code must be 0 or 1 (somebody is to look)."""
        done = subprocess.run(
            ["/bin/bash", "-euc", script],
            cwd=self.folder,
            env=self.environ | more,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode in (0, 1), f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


def place_with_sources(folder: Path) -> Place:
    """Return a place with a copy of the sources, and an empty environment ``venv`` of this test run's Python."""
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    environ = {
        "HOME": os.environ.get("HOME", str(folder)),
        "LANG": "C.UTF-8",
        "PATH": f"{folder / 'venv' / 'bin'}:{Path(uv()).parent}:/usr/local/bin:/usr/bin:/bin",
        "UV_SYSTEM_CERTS": "true",
    } | {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    place = Place(folder, environ)
    place.sh(f"{uv()} venv --quiet --seed --python {sys.executable} venv")
    return place


def uv() -> str:
    """Return the path of uv."""
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    assert Path(found).exists(), "uv is missing: make sync fetches it"
    return found


def wanted_packages(place: Place, *extras: str) -> Path:
    """Return a file with the versions of what these extras need: the locked ones, or those that are asked for."""
    if other := os.environ.get(OTHER_VERSIONS):
        return Path(other)
    wanted = place.folder / "locked.txt"
    options = "--quiet --frozen --no-emit-workspace --no-hashes --no-default-groups"
    words = " ".join(f"--extra {extra}" for extra in extras)
    place.sh(f"{uv()} export {options} {words} --project {ROOT} -o {wanted}")
    return wanted
