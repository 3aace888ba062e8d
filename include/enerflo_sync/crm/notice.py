"""What a look at a live table notices, before the doctor puts it at its line of sync.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Notice(NamedTuple):
    """One thing about a mapped table.

    :param severity: ``error``, ``warning`` or ``hint``, as the doctor has it.
    :param place: the option below the table that it is about.
    """

    severity: str
    place: Sequence[str]
    found: str
    expected: str
    next_step: str
