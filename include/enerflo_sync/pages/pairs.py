"""Two values side by side: what differs is marked, and of masked ones where they differ is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from enerflo_sync.reconcile.render.wording import ShownValue, ValueKind, count_of, shown_values
from enerflo_sync.reconcile.report import Difference

_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class ShownPair:
    """What both sides say.

    :param mine: what Enerflo says, in pieces; every second one differs from the other side.
    :param theirs: the same of the CRM.
    :param where: of masked values, where they differ, without what they say; empty otherwise.
    """

    mine: Sequence[str]
    theirs: Sequence[str]
    mine_value: ShownValue
    theirs_value: ShownValue
    masked: bool
    where: str


def shown_pair(found: Difference, bare: Difference) -> ShownPair:
    """Return a difference's two sides.

    :param found: as it may be shown; :param bare: the same with its personal data.
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
    """Return both texts as what they share, what differs, and what they share at the end."""
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
    """Return where two texts differ, and nothing of what they say."""
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
