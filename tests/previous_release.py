"""The release before each migration, taken from the repository's history and run as a program of its own.

Nothing is published yet: a step of the main line that brings migrations is taken for a release, and its first parent
for the release before it.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = "include/enerflo_sync/warehouse/migrations/versions"
PROGRAM = "include/enerflo_sync/warehouse/revision.py"
_MIGRATION = re.compile(r"(\d{4})_\w+\.py$")
# From the weakest of what older programs may do to the strongest.
MAY = ("nothing", "read", "write")


@dataclass(frozen=True)
class Step:
    """Migrations that came together, and the programs before and with them.

    :param revisions: the migrations' numbers.
    :param before: the commit of the program before them.
    :param after: the commit of the program with them; None for the files as they lie here.
    :param may: what the migrations say that the program before may do with the tables: write, read or nothing.
    :param asks: whether the program before asks what it may do; one that does not refuses any other revision.
    """

    revisions: tuple[str, ...]
    before: str
    after: str | None
    may: str
    asks: bool

    @property
    def name(self) -> str:
        return "-".join(sorted({self.revisions[0], self.revisions[-1]}))


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout


def why_no_history() -> str:
    """Return why the history cannot be read; nothing where it can."""
    try:
        if git("rev-parse", "--is-shallow-repository").strip() == "true":
            return "the clone is shallow (git fetch --unshallow)"
    except (OSError, subprocess.CalledProcessError):
        return "this is no git repository"
    return ""


def steps() -> Iterator[Step]:
    """Yield the steps of the main line that brought migrations, the newest first.

    Migrations that are not committed yet are the first step.
    """
    here = _numbers(path.name for path in (ROOT / VERSIONS).glob("*.py"))
    known = _numbers(git("ls-tree", "--name-only", "HEAD", f"{VERSIONS}/").split())
    if new := here - known:
        yield _step(new, "HEAD", None)
    newest = not new
    for commit in git("log", "--first-parent", "--format=%H", "--", VERSIONS).split():
        before = f"{commit}^"
        after, earlier = (
            _numbers(git("ls-tree", "--name-only", one, f"{VERSIONS}/").split()) for one in (commit, before)
        )
        if new := after - earlier:
            yield _step(new, git("rev-parse", before).strip(), None if newest else commit)
            newest = False


def _numbers(names: Sequence[str] | Iterator[str]) -> set[str]:
    return {found[1] for name in names if (found := _MIGRATION.search(name))}


def _step(new: set[str], before: str, after: str | None) -> Step:
    said = [_says(number) for number in sorted(new)]
    try:
        asks = "may_use" in git("show", f"{before}:{PROGRAM}")
    except subprocess.CalledProcessError:
        asks = False
    return Step(tuple(sorted(new)), before, after, min(said, key=MAY.index), asks)


def _says(number: str) -> str:
    (path,) = (ROOT / VERSIONS).glob(f"{number}_*.py")
    found = re.search(r'^older_programs = "(\w+)"', path.read_text(), re.MULTILINE)
    return found[1] if found else "write"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    told: str


@dataclass
class Program:
    """A version of the program, run from its own files with the packages that are installed here."""

    tree: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from enerflo_sync.cli import main; main()", *words]
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ENERFLO_", "WAREHOUSE_", "WEBHOOK_", "AIRFLOW"))
        }
        environ |= {"PYTHONPATH": str(self.tree / "include"), **self.environ}
        return subprocess.Popen(
            command, cwd=self.tree, env=environ, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def run(self, *words: str) -> Ended:
        return ended(self.begin(*words))


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command's end."""
    _, told = process.communicate(timeout=120)
    return Ended(process.returncode, told)


def program_of(commit: str | None, folder: Path) -> Program:
    """Return the program of a commit, unpacked into a folder; None is the one that lies here."""
    if commit is None:
        return Program(ROOT)
    done = subprocess.run(["git", "archive", commit, "include"], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # Of our own commits; the filters of later Pythons are not in 3.11.2.
        archive.extractall(folder)  # noqa: S202
    return Program(folder)
