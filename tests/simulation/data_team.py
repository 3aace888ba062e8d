"""The data team: by seed it edits sync.yaml between two jobs, while things are on their way."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from enerflo_sync.crm.config import SyncConfig
from tests.simulation.declared import COLUMN
from tests.simulation.mapped import COLUMN_NAMES, OTHER_PLACES, TABLE_NAMES, Column
from tests.simulation.plan import Plan
from tests.simulation.shapes import DATES, Shape
from tests.simulation.troubles import Trouble
from tests.simulation.watch import Watch

# How often a file is edited before a job, at a rate of 1.
_OFTEN = 0.3
# How often of that, by what happened last: plans have to be made, and applied, for an edit to matter.
_EAGER = {"edited": 0.3, "planned": 0.3, "applied": 1.0}
_MOSTLY = 0.7
_UNMAPPED: tuple[Column, ...] = (
    *(("installs", name) for name in ("status", "status", "panel_count", "contract_amount", "customer_name")),
    *(("milestones", name) for name in (*DATES, "title")),
    *(("leads", name) for name in ("city", "mobile", "last_name")),
    *(("change_orders", name) for name in ("panel_count", "status")),
)
_DECIDED: tuple[Column, ...] = (
    *(("installs", "status"), ("installs", "status")),
    *(("milestones", name) for name in DATES),
    *(("leads", name) for name in ("city", "last_name", "zip")),
)
_POLICIES = ("enerflo", "crm", "newest", "review")
# The same word stands for one status, later for another one; and two change their words.
_LABELS: tuple[dict[str, str], ...] = (
    {},
    {"On Hold": "Paused"},
    {"Cancelled": "Paused"},
    {"On Hold": "Paused", "In progress": "Building"},
    {"On Hold": "Building", "In progress": "Paused"},
)
_TOLERATED: tuple[Column, ...] = (("installs", "contract_amount"), ("installs", "system_size_kw"))
_TOLERANCES = (0.0, 0.005, 3.0, 100_000.0)
_REROUTED = ("installs", "milestones", "notes", "leads")
_ACCOUNT = "default"
# What waits to be written, and what a person refused: mostly that is mapped otherwise.
_WAITING = """
select distinct c.table_name, c.field from told.plan_changes c join sync.plans p using (account, plan_hash)
where p.state in ('open', 'approved') and c.state in ('planned', 'sent') and c.field is not null order by 1, 2
"""
_REFUSED = """
select distinct simulation.canonical(table_name), simulation.canonical(field) from sync.refusals
where ended_at is null order by 1, 2
"""
_MODES = ("report", "crm", "enerflo", "both", "both")


class DataTeam:
    """Edits sync.yaml, and gives the CRM's tables and columns other names.

    What a table or column is called is changed once between two plans, and nothing else of the table's meaning beside
    it: by one of both alone the engine knows that it is the same one.

    :param connection: by which tables are altered.
    """

    def __init__(
        self, shape: Shape, plan: Plan, seed: int, connection: psycopg.Connection[Any], watch: Watch
    ) -> None:
        self._connection = connection
        self._watch = watch
        # What the CRM's tables are really called.
        self._columns: frozenset[Column] = frozenset()
        self._places: dict[str, str] = {}
        # Tables whose names or meaning changed since the last plan: that a name changed, or something else.
        self._since: dict[str, str] = {}
        # What sync.yaml said when each plan was made.
        self._made: dict[str, SyncConfig] = {}
        self._last = "applied"
        self._shape = shape
        self._yaml = shape.yaml
        self._plan = plan
        self._rng = random.Random(f"{seed}/the data team")
        self._acts: dict[Trouble, Callable[[], None]] = {
            Trouble.UNMAPPED: self._map_or_not,
            Trouble.RELABELLED: self._relabel,
            Trouble.NEW_TRUTHS: self._decide_otherwise,
            Trouble.TOLERANCES: self._tolerate,
            Trouble.RENAMED_COLUMNS: self._rename_column,
            Trouble.MOVED_TABLES: self._move_table,
            Trouble.RENAMED_TABLES: self._call_otherwise,
            Trouble.OTHER_MODES: self._switch,
            Trouble.NARROWED: self._choose_rows,
            Trouble.REROUTED: self._reroute,
            Trouble.OTHER_NAME: self._call_account_otherwise,
        }

    @property
    def fits(self) -> bool:
        """Return whether sync.yaml names the CRM's tables and columns as they are."""
        says = self._yaml.says
        return (
            dict(says.places) == self._places
            and says.columns - says.unmapped == self._columns - says.unmapped
        )

    def planned(self, plan_hash: str | None, config: SyncConfig) -> None:
        """Take note that a plan was made, which follows all names; or that its job came to no end."""
        if plan_hash is None:
            # It may be made all the same, under the hash of an earlier one.
            self._made.clear()
            return
        self._made[plan_hash] = config
        self._since.clear()
        self._last = "planned"
        if not self.fits:
            self._watch.breaks("a plan was made, though sync.yaml does not fit the CRM's tables")

    def applied(self, plan_hash: str, config: SyncConfig) -> None:
        """Complain where a plan was applied that was made under another mapping."""
        self._last = "applied"
        made = self._made.get(plan_hash, config)
        account = self._yaml.says.account
        if account not in made.accounts or made.tables_for(account) != config.tables_for(account):
            self._watch.breaks(f"plan {plan_hash[:12]} was applied, and was made under another mapping")

    def now_and_then(self) -> None:
        """Edit the file, or leave it as it is."""
        self._watch.look()
        if not self.fits and self._rng.random() < 0.5:
            self._mend()
        if self._yaml.says.account != _ACCOUNT and self._rng.random() < 0.4:
            self._yaml.change(account=_ACCOUNT)
        if self._rng.random() >= _EAGER[self._last]:
            return
        for trouble, act in self._acts.items():
            rate = self._plan.rate(trouble)
            if rate and self._rng.random() < _OFTEN * (0.3 + 0.7 * rate):
                self._last = "edited"
                act()

    def word_of(self, status: str) -> str:
        """Return the word for a status that a person at the CRM takes: the new one, mostly."""
        word = dict(self._yaml.says.labels).get(status)
        return word if word is not None and self._rng.random() < 0.8 else status

    def end(self) -> None:
        """Let sync.yaml fit the tables, and everything be written that differs."""
        self._watch.look()
        self._mend()
        self._yaml.change(mode="both", account=_ACCOUNT)

    def write_again(self) -> bool:
        """Let no change be handed over any more; return whether some were."""
        rerouted = self._yaml.says.rerouted
        self._yaml.change(rerouted=frozenset())
        return bool(rerouted)

    def _mend(self) -> None:
        """Let sync.yaml follow the CRM's tables."""
        self._yaml.change(columns=self._columns, places=tuple(sorted(self._places.items())))

    def _may_change(self, table: str, what: str) -> bool:
        """Return whether a table's names, or something else of its meaning, may change before the next plan."""
        return self._since.setdefault(table, what) == what if what != "names" else table not in self._since

    def _one_of(self, among: Sequence[Column], query: str) -> Column:
        """Return a column, mostly one that a query names, where it names any of them."""
        named = set(self._connection.execute(query.encode()).fetchall())
        some = [one for one in among if one in named]
        return self._rng.choice(some if some and self._rng.random() < _MOSTLY else among)

    def _map_or_not(self) -> None:
        """Take a column out of the mapping, or take one in again."""
        unmapped = self._yaml.says.unmapped
        if unmapped and self._rng.random() < 0.5:
            self._yaml.change(unmapped=unmapped - {self._rng.choice(sorted(unmapped))})
        else:
            more = (("installs", COLUMN),) if self._shape.lender else ()
            self._yaml.change(unmapped=unmapped | {self._one_of((*_UNMAPPED, *more), _WAITING)})

    def _relabel(self) -> None:
        """Let words of the CRM stand for other statuses."""
        if not self._may_change("installs", "meaning"):
            return
        others = [one for one in _LABELS if tuple(one.items()) != self._yaml.says.labels]
        self._yaml.change(labels=tuple(self._rng.choice(others).items()))

    def _decide_otherwise(self) -> None:
        """Let another side be the source of truth of a column."""
        one = self._one_of(_DECIDED, _WAITING)
        policies = dict(self._yaml.says.policies)
        policy = self._rng.choice([other for other in _POLICIES if other != policies.get(one)])
        self._yaml.change(policies=tuple(sorted({**policies, one: policy}.items())))

    def _tolerate(self) -> None:
        """Give a column another tolerance, or none."""
        tolerances = {
            **dict(self._yaml.says.tolerances),
            self._rng.choice(_TOLERATED): self._rng.choice(_TOLERANCES),
        }
        self._yaml.change(tolerances=tuple(sorted(tolerances.items())))

    def _rename_column(self) -> None:
        """Give a column of the CRM its other name, or the first one."""
        table, column = one = self._one_of(sorted(COLUMN_NAMES), _REFUSED)
        order = self._rng.choice(("at once", "at once", "the table", "the file"))
        if self._shape.seen == "crm" or not self.fits or not self._may_change(table, "names"):
            return
        names = (COLUMN_NAMES[one], column) if one in self._columns else (column, COLUMN_NAMES[one])
        columns = self._columns ^ {one}
        if order != "the file" or self._rng.random() < 0.5:
            place = self._places.get(table, f"crm.{table}")
            if not self._alter(f"alter table {place} rename {names[0]} to {names[1]}"):
                return
            self._columns = columns
        self._since[table] = "names"
        if order != "the table":
            self._yaml.change(columns=columns)

    def _move_table(self) -> None:
        """Give a table of the CRM another name or schema."""
        table = self._rng.choice(sorted(OTHER_PLACES))
        order = self._rng.choice(("at once", "at once", "the table", "the file"))
        if self._shape.seen == "crm" or not self.fits or not self._may_change(table, "names"):
            return
        first = f"crm.{table}"
        now = self._places.get(table, first)
        to = self._rng.choice([one for one in (first, *OTHER_PLACES[table]) if one != now])
        places = {**self._places, table: to}
        if to == first:
            del places[table]
        if order != "the file" or self._rng.random() < 0.5:
            schemas, names = zip(now.split("."), to.split("."), strict=True)
            steps = [f"alter table {now} rename to {names[1]}"] if names[0] != names[1] else []
            if schemas[0] != schemas[1]:
                steps.append(f"alter table {schemas[0]}.{names[1]} set schema {schemas[1]}")
            if not self._alter(*steps):
                return
            self._places = places
        self._since[table] = "names"
        if order != "the table":
            self._yaml.change(places=tuple(sorted(places.items())))

    def _alter(self, *statements: str) -> bool:
        """Alter the CRM's tables; return False where somebody else holds one."""
        try:
            with self._connection.transaction():
                for statement in statements:
                    self._connection.execute(statement.encode())
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _call_otherwise(self) -> None:
        """Give a table another name in sync.yaml alone."""
        refused = {table for table, _ in self._connection.execute(_REFUSED).fetchall()}
        some = sorted(refused & TABLE_NAMES.keys())
        table = self._rng.choice(some if some and self._rng.random() < _MOSTLY else sorted(TABLE_NAMES))
        if self._may_change(table, "names"):
            self._since[table] = "names"
            self._yaml.change(tables=self._yaml.says.tables ^ {table})

    def _switch(self) -> None:
        """Let other sides be written, or none."""
        self._yaml.change(mode=self._rng.choice(_MODES))

    def _choose_rows(self) -> None:
        """Take every ``where`` away, or bring it back."""
        tables = ("installs", "milestones")
        if self._shape.chosen and all(self._may_change(table, "meaning") for table in tables):
            self._watch.choose_otherwise(lambda: self._yaml.change(whole=not self._yaml.says.whole))

    def _reroute(self) -> None:
        """Let changes of a table be handed over, or be written again."""
        table = self._rng.choice(_REROUTED)
        if not self._shape.copied:
            self._yaml.change(rerouted=self._yaml.says.rerouted ^ {table})

    def _call_account_otherwise(self) -> None:
        """Give the account another name, once something is known of its company."""
        row = self._connection.execute("select exists (select from sync.companies_seen)").fetchone()
        if row is not None and row[0]:
            self._yaml.change(account="west")
