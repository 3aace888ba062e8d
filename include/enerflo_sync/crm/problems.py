"""Mistakes in a configuration file, each with file, line, found and expected value, and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from enerflo_sync.errors import ConfigurationError

UNKNOWN_OPTION = "the unknown option"
# While machines are upgraded one by one, the file may be of the newer version already.
_NEWER = "If the file is for a newer version of enerflo-sync, use that one here (docs/upgrading.md)."
NEWER_PROGRAM = "The file is for a newer version of enerflo-sync: use that one here (docs/upgrading.md)."


class Problem(msgspec.Struct, frozen=True):
    """One mistake to correct. ``line`` counts from 1; ``place`` is the option's dotted path.

    :param account: the only account that cannot be used because of it, although it is in a shared file.
    """

    file: str
    line: int
    place: str
    found: str
    expected: str
    nearest: str = ""
    account: str = ""

    @property
    def may_be_newer(self) -> bool:
        """Return whether a newer version of this program may know what this one does not."""
        return self.found.startswith(UNKNOWN_OPTION) and not self.nearest

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        hint = f"; did you mean {self.nearest}?" if self.nearest else "."
        return f"{self.file}:{self.line}: {place}found {self.found}, expected {self.expected}{hint}"


class InvalidConfigurationError(ConfigurationError):
    """The file cannot be used; ``problems`` holds every reason, in the order of the file's lines.

    Mistakes in accounts' own files follow, file by file.

    :param next_step: by default to correct the file, where it is one.
    """

    def __init__(self, file: Path, problems: Sequence[Problem], *, next_step: str = "") -> None:
        def order(problem: Problem) -> tuple[bool, str, int]:
            return problem.file != str(file), problem.file, problem.line

        self.problems = tuple(sorted(problems, key=order))
        one = Path(self.problems[0].file).name if len(self.problems) == 1 else ""
        steps = [f"Correct {one} and run it again."] if one else []
        if any(problem.may_be_newer for problem in self.problems):
            steps.append(_NEWER)
        told = "\n".join(str(problem) for problem in self.problems)
        super().__init__(told, next_step=next_step or " ".join(steps))


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the valid name that ``word`` most likely means; ``""`` if no name is near."""
    known = list(names)
    folded = {name.lower(): name for name in known}
    if word.lower() in folded:
        return folded[word.lower()]
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def listed(names: Iterable[str], *, limit: int = 12) -> str:
    """Return names as ``one of a, b, c``, cut after ``limit``."""
    known = [str(name) for name in names]
    if not known:
        return "nothing"
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    prefix = "one of " if len(known) > 1 else ""
    return prefix + ", ".join(known[:limit]) + more
