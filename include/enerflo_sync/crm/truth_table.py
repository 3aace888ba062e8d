"""Every case of two sides that differ, and what is decided in each: the table of the docs and of its test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enerflo_sync.crm.decision import FACTS, Outcome, decide
from enerflo_sync.crm.mapping import SourceOfTruth

# None is null; "-" as a base says that the two sides never agreed.
Value = str | None
NEVER: Value = "-"

SITUATIONS: tuple[tuple[Value, Value, Value], ...] = (
    (NEVER, "B", "C"),
    (NEVER, "B", None),
    (NEVER, None, "C"),
    ("A", "B", "A"),
    ("A", "A", "C"),
    ("A", "B", "C"),
    ("A", None, "A"),
    ("A", "A", None),
    ("A", None, "C"),
    ("A", "B", None),
    (None, "B", None),
    (None, None, "C"),
    (None, "B", "C"),
)


@dataclass(frozen=True)
class Case:
    """One case: the last agreed value, both sides' values, what is declared, whose row is the later one."""

    base: Value
    enerflo: Value
    crm: Value
    policy: SourceOfTruth
    null_overwrites: bool
    crm_later: bool

    def facts(self) -> dict[str, bool]:
        """Return the facts that hold, of a field that may be written on both sides."""
        known = self.base != NEVER
        return {
            **dict.fromkeys(FACTS, False),
            "base_known": known,
            "enerflo_moved": known and self.enerflo != self.base,
            "crm_moved": known and self.crm != self.base,
            "enerflo_null": self.enerflo is None,
            "crm_null": self.crm is None,
            "crm_later": self.crm_later,
            "null_overwrites": self.null_overwrites,
            "crm_allowed": True,
            "enerflo_allowed": True,
            "enerflo_writable": True,
        }

    def decided(self) -> tuple[Outcome, str]:
        """Return what is decided, and the name of the rule."""
        outcome, rule = decide(self.policy, self.facts())
        return outcome, rule.name


def cases() -> Iterator[Case]:
    """Yield every case of :data:`SITUATIONS` under every policy and null rule."""
    for base, enerflo, crm in SITUATIONS:
        for policy in SourceOfTruth:
            for null_overwrites in (False, True):
                for crm_later in (False, True):
                    yield Case(base, enerflo, crm, policy, null_overwrites, crm_later)
