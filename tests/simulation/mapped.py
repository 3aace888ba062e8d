"""What sync.yaml says by now: what people of the data team changed in it since the day began.

All names are the first ones, by which the simulation knows tables and columns whatever they are called by now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Column = tuple[str, str]
# What each column and each table may be called otherwise. Each name is of one thing alone, whenever it is met.
COLUMN_NAMES: Mapping[Column, str] = {
    ("installs", "status"): "stage",
    ("installs", "panel_count"): "panels",
    ("milestones", "due_at"): "deadline",
    ("leads", "city"): "town",
}
TABLE_NAMES = {"installs": "jobs", "milestones": "steps", "notes": "remarks", "leads": "prospects"}
# What a table of the CRM may be called there, and in which schema.
OTHER_PLACES = {name: (f"crm.{name}_2026", f"sales.{name}") for name in TABLE_NAMES}
# The second table of sync.yaml for the CRM's table of installs, with the rows of another branch.
WEST = "installs_west"
FIRST_NAMES = {
    WEST: "installs",
    **{other: column for (_, column), other in COLUMN_NAMES.items()},
    **{other: table for table, other in TABLE_NAMES.items()},
    **{f"{name}_2026": name for name in TABLE_NAMES},
}


def first_name(name: Any) -> Any:
    """Return the first name of a table or a column, whatever it is called by now."""
    return FIRST_NAMES.get(name, name)


@dataclass(frozen=True)
class Mapped:
    """One state of sync.yaml.

    :param unmapped: columns that are not mapped.
    :param labels: words of the CRM for statuses of Enerflo, by status.
    :param policies: ``source_of_truth`` of columns, where it is another one than in the beginning.
    :param tolerances: of columns, where it is another one than in the beginning; 0 where there is none.
    :param columns: those that have their other name, and ``tables`` alike.
    :param places: ``crm_table`` of tables, where it is another one than in the beginning.
    :param mode: what may be written.
    :param whole: no table has a ``where``.
    :param account: what the account is called.
    :param rerouted: tables whose changes are handed over (``write_to: changes``), where they were not.
    """

    unmapped: frozenset[Column] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    policies: tuple[tuple[Column, str], ...] = ()
    tolerances: tuple[tuple[Column, float], ...] = ()
    columns: frozenset[Column] = frozenset()
    tables: frozenset[str] = frozenset()
    places: tuple[tuple[str, str], ...] = ()
    mode: str = "both"
    whole: bool = False
    rerouted: frozenset[str] = frozenset()
    account: str = "default"

    def edit(self, config: dict[str, Any]) -> None:
        """Let a configuration say what this state says, which names all as in the beginning."""
        config["accounts"] = {self.account: {**config["accounts"]["default"], "mode": self.mode}}
        tables = config["tables"]
        for (table, column), policy in self.policies:
            tables[table]["fields"][column]["source_of_truth"] = policy
        for (table, column), tolerance in self.tolerances:
            field = tables[table]["fields"][column]
            field.pop("tolerance", None)
            field.update({"tolerance": tolerance} if tolerance else {})
        if self.labels:
            tables["installs"]["fields"]["status"]["values"] = dict(self.labels)
        for table, column in self.unmapped:
            # The data team may have declared the column no more.
            tables[table]["fields"].pop(column, None)
        for said in tables.values() if self.whole else ():
            said.pop("where", None)
        for table in self.rerouted:
            tables[table]["write_to"] = "changes"
        for table, place in self.places:
            tables[table]["crm_table"] = place
        for table, column in self.columns - self.unmapped:
            fields = tables[table]["fields"]
            tables[table]["fields"] = {
                COLUMN_NAMES[table, column] if name == column else name: said for name, said in fields.items()
            }
        config["tables"] = {
            TABLE_NAMES[name] if name in self.tables else name: {"of": name, **said}
            if name in self.tables
            else said
            for name, said in tables.items()
        }

    def table(self, name: str) -> str:
        """Return what sync.yaml calls a table."""
        return TABLE_NAMES[name] if name in self.tables else name

    def column(self, table: str, name: str) -> str:
        """Return what a column is called."""
        return COLUMN_NAMES[table, name] if (table, name) in self.columns else name


class SyncYaml:
    """The file, which is another one after each edit.

    :ivar listeners: told of each edit, by what was before and what is now.
    :ivar ever_rerouted: changes of some table were handed over for a while.
    """

    def __init__(self) -> None:
        self.says = Mapped()
        self.ever_rerouted = False
        self.listeners: list[Callable[[Mapped, Mapped], None]] = []

    def change(self, **parts: Any) -> None:
        """Let the file say something else."""
        before, self.says = self.says, replace(self.says, **parts)
        self.ever_rerouted = self.ever_rerouted or bool(self.says.rerouted)
        for listener in self.listeners:
            listener(before, self.says)
