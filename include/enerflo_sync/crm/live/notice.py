"""What a look at a live table noticed, before it is put at its line of sync.yaml."""

from __future__ import annotations

from typing import NamedTuple


class Notice(NamedTuple):
    """One thing about a mapped table. ``place`` is the option below the table that it is about."""

    place: tuple[str, ...]
    found: str
    expected: str
    next_step: str
