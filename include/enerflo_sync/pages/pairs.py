"""Two values side by side with their difference marked; for masked values, only its position in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from enerflo_sync.counted import count_of
from enerflo_sync.reconcile.render.wording import ShownValue, ValueKind, shown_values
from enerflo_sync.reconcile.report import Difference

_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class ShownPair:
    """The values of both sides.

    :param mine: Enerflo's value in pieces; every second piece differs from the other side.
    :param theirs: the CRM's value in the same form.
    :param where: for masked values, where they differ, without their content; empty otherwise.
    """

    mine: Sequence[str]
    theirs: Sequence[str]
    mine_value: ShownValue
    theirs_value: ShownValue
    masked: bool
    where: str


def shown_pair(found: Difference, bare: Difference) -> ShownPair:
    """Return both sides' values of a difference.

    :param found: the difference as it may be shown; :param bare: the difference with its personal data.
    """
    ours, theirs = shown_values(found, _WIDTH)
    hidden = found.masked
    both = ours.kind is ValueKind.VALUE and theirs.kind is ValueKind.VALUE
    whole = hidden or not both or found.field is None
    mine_parts: Sequence[str]
    theirs_parts: Sequence[str]
    mine_parts, theirs_parts = ((ours.short,), (theirs.short,)) if whole else _parts(ours.short, theirs.short)
    where = ""
    if hidden and isinstance(bare.enerflo_value, str) and isinstance(bare.crm_value, str):
        where = where_they_differ(bare.enerflo_value, bare.crm_value)
    return ShownPair(mine_parts, theirs_parts, ours, theirs, hidden, where)


def _parts(a: str, b: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return both texts in three pieces: the common beginning, the difference, and the common end."""
    start = _shared(a, b)
    end = _shared(a[start:][::-1], b[start:][::-1])
    mine, theirs = ((one[:start], one[start : len(one) - end], one[len(one) - end :]) for one in (a, b))
    return mine, theirs


def _shared(a: str, b: str) -> int:
    length = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        length += 1
    return length


def where_they_differ(mine: str, theirs: str) -> str:
    """Return where two texts differ, without any of their content."""
    if mine == theirs:
        return ""
    if mine.strip() == theirs.strip():
        return "they differ in blanks at an end"
    if "".join(mine.split()) == "".join(theirs.split()):
        return "they differ in blanks within"
    if mine.casefold() == theirs.casefold():
        return "they differ in capital letters"
    lengths = (
        f"both have {count_of(len(mine), 'character')}"
        if len(mine) == len(theirs)
        else f"{count_of(len(mine), 'character')} and {len(theirs):,}"
    )
    return f"{lengths}, they differ from the {_ordinal(_shared(mine, theirs) + 1)} on"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
