"""The catalogue as one object: the paths, the columns filled from them, and recent changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from enerflo_sync.crm.columns import is_declarable


class FieldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One path in the stored records.

    :param steps: the names and list positions of the path, outermost first; ``path`` joins them by dots.
    :param types: number of current records per kind of value; ``nothing`` counts null and empty values.
    :param filled: number of current records with a value.
    :param example: the masked form of one value; None without any value.
    :param last_seen_at: when a record last had a value; None while a current record has one.
    :param columns: the mirror's columns that are filled from this path.
    :param mapped_to: the CRM columns that are compared with those.
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
        """Return the type that a declared column for this path would have."""
        kinds = set(self.types) - {"nothing"}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds and kinds <= {"integer", "number"}:
            return "number"
        if kinds and kinds <= {"date", "timestamp"}:
            return "timestamp"
        return "text"


class Unfilled(msgspec.Struct, frozen=True, kw_only=True):
    """A declared column that stays empty in most records, and the reason.

    :param nearest: a path that some records have, and that was probably meant.
    :param option: the option to correct: path, type or max_length.
    :param found: what the option says beside what the records say, in words; ``expected`` and ``next_step``
        complete it, as in other findings.
    """

    column: str
    path: str
    nearest: str | None
    option: str
    found: str
    expected: str
    next_step: str


class FieldCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """The paths in the stored records of one table.

    :param resource: what the versions are of; of milestones installs.
    :param records: number of current records read; ``versions`` also counts earlier contents.
    :param unreadable: number of versions that could not be read.
    :param fields: by path.
    :param appeared: paths that no record had until a month ago (empty while nothing older is stored).
    :param vanished: paths that a record had within the last month, and that none has now.
    :param unfilled: declared columns whose path or type fits few of the current records.
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
    """Return the ``columns`` line that declares a column for a path, named after its last steps.

    None if a name in the path contains blanks or dots: such a path cannot be declared.
    """
    if not is_declarable(entry.steps):
        return None
    steps = [step for step in entry.steps if not step.isdigit()]
    name = "_".join(steps[-2:]).lower()
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[:59]
    return f"{name}: {{path: {entry.path}, type: {entry.type}}}"
