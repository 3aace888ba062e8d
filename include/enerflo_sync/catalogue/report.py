"""The catalogue as one object: the paths, what feeds which column, and what changed of late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from enerflo_sync.crm.columns import is_declarable


class FieldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One path of the records that are stored.

    :param steps: the names and list positions of the path, outermost first; ``path`` has dots between them.
    :param types: how many of the current records have a value of each kind there; ``nothing`` for null and
        empty ones.
    :param filled: how many of the current records say something there.
    :param example: the form of one value, masked; None where nothing is said.
    :param last_seen_at: until when a record said something there; None while one does.
    :param columns: the mirror's columns that are filled from it.
    :param mapped_to: the CRM columns that are compared with these.
    """

    path: str
    steps: Sequence[str]
    types: Mapping[str, int]
    filled: int
    example: str | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    columns: Sequence[str]
    mapped_to: Sequence[str]

    @property
    def type(self) -> str:
        """Return the type that a declared column of it would have."""
        kinds = set(self.types) - {"nothing"}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds and kinds <= {"integer", "number"}:
            return "number"
        if kinds and kinds <= {"date", "timestamp"}:
            return "timestamp"
        return "text"


class Unfilled(msgspec.Struct, frozen=True, kw_only=True):
    """A declared column whose path no current record has; ``nearest`` is a path that some have."""

    column: str
    path: str
    nearest: str | None


class FieldCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What the stored records of one table say.

    :param resource: what the versions are of; of milestones installs.
    :param records: the current records that were read; ``versions`` are all contents, earlier ones, too.
    :param unreadable: versions that could not be read.
    :param fields: by path.
    :param appeared: paths that no record had until a month ago (none while nothing older is stored).
    :param vanished: paths that a record had within the last month, and that none has any more.
    :param unfilled: declared columns whose path no current record has.
    """

    account: str
    table: str
    resource: str
    records: int
    versions: int
    unreadable: int
    since: datetime
    fields: Sequence[FieldEntry]
    appeared: Sequence[str]
    vanished: Sequence[str]
    unfilled: Sequence[Unfilled]


def yaml_line(entry: FieldEntry) -> str | None:
    """Return the line of ``columns`` that declares a column of a path, with a name made of its last steps.

    None where a name in the path has blanks or dots in it: no column can be declared of that.
    """
    if not is_declarable(entry.steps):
        return None
    steps = [step for step in entry.steps if not step.isdigit()]
    name = "_".join(steps[-2:]).lower()
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[:59]
    return f"{name}: {{path: {entry.path}, type: {entry.type}}}"
