"""A notice about a live table, before the doctor adds the line of sync.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Notice(NamedTuple):
    """One notice about a mapped table.

    :param severity: ``error``, ``warning`` or ``hint``, as for the doctor.
    :param place: the table's option that it concerns.
    """

    severity: str
    place: Sequence[str]
    found: str
    expected: str
    next_step: str
