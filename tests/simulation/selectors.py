"""Parts of a plan as a person chooses them, written down a second time beside the engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from enerflo_sync.plan.parts import Part, Rest
from tests.simulation.mapped import Mapped
from tests.simulation.shapes import Shape


@dataclass(frozen=True)
class Selector:
    """What ``--only`` or ``--except`` names: a table, one of its records, a field."""

    table: str
    key: str | None
    field: str | None

    def text(self, says: Mapped) -> str:
        """Return it as it is typed, by the names of now."""
        record = "" if self.key is None else f":{self.key}"
        field = "" if self.field is None else f".{says.column(self.table, self.field)}"
        return f"{says.table(self.table)}{record}{field}"

    def fits(self, change: Any, shape: Shape) -> bool:
        """Return whether a row of :meth:`.refusals.Refusals.planned` is meant."""
        table, key, _, op, column, *_ = change
        if table != self.table or (self.key is not None and self.key != key_text(shape, table, key)):
            return False
        return self.field is None or (op == "update" and column == self.field)


@dataclass(frozen=True)
class ChosenPart:
    """A part of a plan: what is handed to the engine, and the changes that it should mean."""

    part: Part
    chosen: Sequence[Any]
    others: Sequence[Any]


def key_text(shape: Shape, table: str, key: dict[str, Any]) -> str:
    """Return a key as it is typed: a row that is not there yet may be named by Enerflo's id alone."""
    names = [name for name in shape.tables[table].key if name in key] or list(key)
    return "/".join(str(key[name]) for name in names)


def drawn_part(rng: random.Random, shape: Shape, changes: Sequence[Any]) -> ChosenPart:
    """Return a part of a plan by seed; the engine may refuse it where it separates what belongs together."""
    selectors = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        table, key, _, op, column, *_ = rng.choice(changes)
        selectors.append(
            Selector(
                table,
                key_text(shape, table, key) if rng.random() < 0.6 else None,
                column if op == "update" and rng.random() < 0.5 else None,
            )
        )
    only = rng.random() < 0.5
    rest = rng.choice((Rest.OPEN, Rest.REFUSE))
    texts = [selector.text(shape.yaml.says) for selector in selectors]
    part = Part(only=texts, rest=rest) if only else Part(without=texts, rest=rest)
    named = [any(selector.fits(change, shape) for selector in selectors) for change in changes]
    return ChosenPart(
        part,
        [change for change, fits in zip(changes, named, strict=True) if fits is only],
        [change for change, fits in zip(changes, named, strict=True) if fits is not only],
    )
