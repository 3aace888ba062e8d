"""How the CRM of a seed is built."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.simulation.shapes import DATES, Shape
from tests.simulation.troubles import Trouble

# What names the table of installs, or loads it again, knows one of it.
_ONE_TABLE = {
    *(
        Trouble.TWINS,
        Trouble.RESYNCED,
        Trouble.OLD_VERSIONS,
        Trouble.WIDE,
        Trouble.REROUTED,
        Trouble.NARROWED,
    ),
    *(Trouble.RENAMED_COLUMNS, Trouble.MOVED_TABLES, Trouble.RENAMED_TABLES),
}


def shape_of(seed: int, troubles: Mapping[Trouble, float]) -> Shape:
    """Return the CRM of a seed."""
    rng = random.Random(f"{seed}/shape")
    dates, declared = rng.choice((("date", "timestamp"), ("date", "date"), ("text", "date")))
    zone = rng.choice(("UTC", "America/Denver", "Asia/Tokyo"))
    reviewed = [("installs", "status"), *(("milestones", name) for name in DATES)]
    policies = dict.fromkeys(reviewed, "review") if rng.random() < 0.6 else {}
    by_days = Trouble.DAY_COLUMNS in troubles
    # An external id is of one record.
    salesforce = Trouble.SALESFORCE in troubles and Trouble.TWINS not in troubles
    copied = Trouble.HANDED_OVER in troubles or salesforce
    # The courier and the wide columns name rows by their keys as they stand.
    spelled = "near" if Trouble.NEAR_KEYS in troubles else "typed" if Trouble.TYPED_KEYS in troubles else ""
    spelled = "" if copied or Trouble.WIDE in troubles else spelled
    wide_table = random.Random(f"{seed}/shape of a wide table").choice(("permits", "installs"))
    marked = random.Random(f"{seed}/shape of a copy").random() < 0.7
    own_keys = Trouble.OWN_KEYS in troubles
    # Changes that are handed over wait for the next copy, whatever brings it.
    elsewhere = Trouble.ELSEWHERE in troubles and not copied and Trouble.REROUTED not in troubles
    return Shape(
        dates=dates if by_days else "timestamptz",
        declared=declared if by_days else "timestamp",
        zone=zone if by_days else "UTC",
        text_keys=Trouble.TEXT_KEYS in troubles or bool(spelled),
        spelled=spelled,
        # A copy that is loaded again would leave no row that meets the condition.
        chosen=bool(troubles.keys() & {Trouble.CHOSEN_ROWS, Trouble.NARROWED})
        and not copied
        and Trouble.RESYNCED not in troubles,
        own_keys=own_keys,
        branched=Trouble.BRANCHES in troubles and not troubles.keys() & _ONE_TABLE and not copied,
        unique=Trouble.TWINS not in troubles,
        marks=bool(troubles.keys() & {Trouble.SOFT_DELETED, Trouble.OLD_VERSIONS})
        or (Trouble.RESYNCED in troubles and marked),
        # The same copy cannot follow a table with keys, and keep each older version.
        versions=Trouble.OLD_VERSIONS in troubles and not copied,
        copied=copied,
        salesforce=salesforce,
        elsewhere=elsewhere,
        touched=elsewhere and random.Random(f"{seed}/shape of times").random() < 0.5,
        # What a person refuses is looked after by tables with a row for each record.
        wide_table=""
        if Trouble.WIDE not in troubles or own_keys or copied or Trouble.REFUSALS in troubles
        else wide_table,
        numbered=bool(troubles.keys() & {Trouble.RESYNCED, Trouble.OLD_VERSIONS}),
        hashed=rng.random() < 0.3,
        lender=Trouble.DECLARED_COLUMN in troubles,
        policies=policies if own_keys else {},
        seen=_seen(troubles),
    )


def _seen(troubles: Mapping[Trouble, float]) -> str:
    """Return where people see the CRM's tables: apart from them, where those get other names."""
    # A copy keeps its names, and tables with milestones in columns do.
    apart = {Trouble.HANDED_OVER, Trouble.SALESFORCE, Trouble.WIDE, Trouble.RESYNCED, Trouble.OLD_VERSIONS}
    renamed = {Trouble.RENAMED_COLUMNS, Trouble.MOVED_TABLES}
    return "seen" if troubles.keys() & renamed and not troubles.keys() & apart else "crm"
