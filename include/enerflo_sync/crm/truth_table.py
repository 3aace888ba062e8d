"""Every case of two differing sides and its decision: the table in the docs and in its test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enerflo_sync.crm.decision import FACTS, Resolution, decide
from enerflo_sync.crm.mapping import SourceOfTruth

# None is null; "-" as the agreed value means that the two sides never agreed.
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
    """One case: the agreed value, both sides' values, the declared rules, and which row is newer."""

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

    def decided(self) -> tuple[Resolution, str]:
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
