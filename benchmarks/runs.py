"""The run that a part of the page is of, as the part's last line says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Run:
    """What a part's figures depend on.

    :param section: the part's name.
    :param command: what was typed.
    :param size: full, quick, or sizes of one's own.
    :param samples: of what each line is, such as ``3 rounds``; without a comma.
    :param machine: in one line, the processor first.
    :param load: the machine's load average when the section began and when it ended.
    :param versions: of Python and of what matters to the figures.
    :param server: PostgreSQL's settings; none where the section has a server of its own.
    """

    section: str
    command: str
    size: str
    samples: str
    ended: datetime
    minutes: float
    machine: str
    load: tuple[float, float]
    versions: str
    server: Mapping[str, str]

    def line(self) -> str:
        """Return the last line of the part."""
        settings = ", ".join(f"{name} {value}" for name, value in self.server.items())
        server = f"the embedded server over its unix socket, {settings}" if settings else "the section's own"
        return (
            f"Run: `{self.section}` of `{self.command}`, {self.size}, {self.samples}, ended"
            f" {self.ended:%Y-%m-%d %H:%M} UTC, took {self.minutes:.1f} minutes. {self.machine}; load average"
            f" {self.load[0]:.1f} at the beginning, {self.load[1]:.1f} at the end. {self.versions}."
            f" PostgreSQL: {server}."
        )


@dataclass(frozen=True)
class Told:
    """What the last line of a part says, as far as the head of the page repeats it.

    :param minutes: None where the line does not say how long the section took.
    """

    section: str
    size: str
    samples: str
    ended: str
    minutes: float | None
    processor: str

    @classmethod
    def of(cls, text: str) -> Told | None:
        """Return what the last line of a text says; None where that is not the last line of a part."""
        found = _LINE.match(text.strip().rpartition("\n")[2])
        if found is None:
            return None
        section, size, samples, ended, minutes, processor = found.groups()
        return cls(section, size, samples, ended, float(minutes) if minutes else None, processor)


_LINE = re.compile(
    r"Run: `(\w+)` of `[^`]+`, ([^,]+), ([^,]+), ended (\S+ \S+) UTC(?:, took ([\d.]+) minutes)?\. ([^,]+),"
)
