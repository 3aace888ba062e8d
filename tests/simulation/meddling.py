"""People who work on the very rows of a plan, give rows other links, and copy rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.simulation.branches import Branches
from tests.simulation.desk import BY_CONTENT, Desk
from tests.simulation.shapes import DATES, OTHER_TYPE, Shape
from tests.simulation.troubles import Trouble

# What waits to be written, what goes to Enerflo first.
_WAITING = """
select c.table_name, c.key, c.op, c.field, c.direction from told.plan_changes c
join sync.plans p using (account, plan_hash)
where p.state in ('open', 'approved') and c.state = any(%(states)s)
order by c.direction desc, c.position
"""
_STATUSES = ("In progress", "On Hold", "Pending KCA")
_COPIED = ("installs", "leads")


class Meddling:
    """Edits what others are about to write."""

    def __init__(self, desk: Desk, shape: Shape, seed: int) -> None:
        self._desk = desk
        self._shape = shape
        self._rng = random.Random(f"{seed}/meddling")
        self.branches: Branches | None = None
        if shape.branched:
            unmoved = 0.0 if shape.keeps_times else 0.3
            self.branches = Branches(desk, self._rng, OTHER_TYPE, unmoved)
        self._copies = 0
        self._imports = 0

    @property
    def oddities(self) -> dict[Trouble, Callable[[], None]]:
        """Return what people do now and then of their own accord, by the trouble that it is."""
        acts = {Trouble.RELINKS: self.relink, Trouble.TWINS: self.copy}
        if self.branches is not None:
            acts[Trouble.BRANCHES] = self.branches.give_one
        # A copy, and a table with each older version of a row, know a row by its key alone.
        if self._shape.own_keys and not (self._shape.copied or self._shape.numbered):
            acts[Trouble.RENUMBERED] = self.renumber
        return acts

    def before_it_is_written(self) -> None:
        """Change the source of one of the changes that wait."""
        # What is carried by us waits until it is written.
        states = [
            "planned",
            "sent",
            *(["handed_over"] if self._shape.elsewhere or self._shape.salesforce else []),
        ]
        changes = self._desk.run(_WAITING, states=states)
        if not changes:
            return
        # Mostly one of the first: those go to Enerflo.
        table, key, op, column, direction = changes[int(len(changes) * self._rng.random() ** 2)]
        self._desk.edit(lambda: self._change(table, key, op, column, direction))

    def _change(self, table: str, key: dict[str, Any], op: str, column: str | None, direction: str) -> None:
        if table == "permits":
            sets = f"{column} = {column} - interval '1 day', updated_at = %(now)s"
            self._write(f"update crm.{self._shape.wide_table} set {sets}", key)
        elif self._rng.random() < 0.15:
            self._write(f"delete from crm.{table}", key)
        elif table == "notes" and op == "insert" and direction == "to_enerflo":
            self._note(key)
        elif table == "leads" and direction == "to_enerflo":
            self._lead(key, op)
        elif table == "installs" and column == "status":
            self._set(table, key, "status", self._rng.choice(_STATUSES))
        elif table == "milestones" and column in DATES:
            # Taken from another column: a date of the right type.
            self._write(
                f"update crm.milestones set {column} = {self._rng.choice(DATES)}, updated_at = %(now)s", key
            )

    def _note(self, key: dict[str, Any]) -> None:
        """Correct a note that was not sent yet, or put it on another install."""
        row = self._desk.some("installs", "enerflo_install_id")
        if row is not None and self._rng.random() < 0.4:
            self._set("notes", key, "enerflo_install_id", row[0])
        else:
            more = f" (corrected {self._rng.randrange(1000)})"
            self._write("update crm.notes set body = body || %(more)s, updated_at = %(now)s", key, more=more)

    def _lead(self, key: dict[str, Any], op: str) -> None:
        """Disqualify a lead that was not delivered yet, or correct it."""
        if op == "insert" and self._rng.random() < 0.6:
            self._set("leads", key, "status", "unqualified")
        else:
            self._set("leads", key, "last_name", f"Doe {self._rng.randrange(1000)}")

    def set_status(self, install_id: int) -> None:
        """Give an install another status."""
        key = self._shape.link_of("installs", (install_id,))
        self._desk.edit(lambda: self._set("installs", key, "status", self._rng.choice(_STATUSES)))

    def set_due(self, install_id: int, milestone_id: int, due: datetime) -> None:
        """Give a milestone another day to be due on."""
        key = self._shape.link_of("milestones", (install_id, milestone_id))
        value = f"{due:%Y-%m-%d}" if self._shape.dates == "text" else due
        self._desk.edit(lambda: self._set("milestones", key, "due_at", value))

    def relink(self) -> None:
        """Give a row the link of another record, or two rows each other's."""
        self._desk.edit(self._relink)

    def _relink(self) -> None:
        tables = ["leads", *(("installs", "milestones") if self._shape.own_keys else ())]
        table = self._rng.choice(tables)
        (key,) = self._shape.tables[table].key
        links = ", ".join(self._shape.tables[table].joins)
        rows = self._desk.run(
            f"select {key}, array[{links}]::text[] from crm.{table} where num_nulls({links}) = 0"
            " order by updated_at desc, 1"
        )
        if len(rows) < 2:
            return
        # Mostly a row that was edited just now.
        one, link = rows[int(len(rows) * self._rng.random() ** 3)]
        other, others_link = self._rng.choice(rows)
        if link == others_link:
            return
        if self._rng.random() < 0.7:
            # In one statement: nobody sees both with one link.
            self._move(table, key, {one: others_link, other: link})
        else:
            self._move(table, key, {one: others_link})

    def _move(self, table: str, key: str, links: dict[str, list[str]]) -> None:
        columns = [*self._shape.tables[table].joins]
        kinds = {"enerflo_install_id": "text" if self._shape.text_keys else "bigint"}
        values = {f"l{n}": [link[n] for link in links.values()] for n, _ in enumerate(columns)}
        lists = ", ".join(f"%(l{n})s::text[]" for n, _ in enumerate(columns))
        names = ", ".join(f"l{n}" for n, _ in enumerate(columns))
        sets = ", ".join(f"{name} = v.l{n}::{kinds.get(name, 'bigint')}" for n, name in enumerate(columns))
        self._desk.run(
            f"update crm.{table} t set {sets}, updated_at = %(now)s"
            f" from unnest(%(keys)s::text[], {lists}) as v (key, {names}) where t.{key} = v.key",
            keys=list(links),
            **values,
        )

    def renumber(self) -> None:
        """Now and then let an import give each row of a table the key of the next one, and the last a new key."""
        if self._rng.random() < 0.1:
            self._desk.at_once(self._renumber)

    def _renumber(self) -> None:
        table = self._rng.choice(("installs", "milestones"))
        (key,) = self._shape.tables[table].key
        self._imports += 1
        # Some imports keep the times of their source.
        dated = ", updated_at = %(now)s" if self._rng.random() < 0.5 else ""
        with self._desk.together():
            # No two rows may have one key at any time.
            self._desk.run(f"update crm.{table} set {key} = '~' || {key}")
            self._desk.run(
                f"update crm.{table} t set {key} = n.next{dated}"
                f" from (select {key}, coalesce(substr(lead({key}) over (order by {key}), 2), %(last)s) as next"
                f" from crm.{table}) n where n.{key} = t.{key}",
                last=f"{'J' if table == 'installs' else 'S'}~{self._imports}",
            )

    def copy(self) -> None:
        """Copy a row, edit one of two twins, or delete one of them."""
        self._desk.edit(self._copy)

    def _copy(self) -> None:
        table = self._rng.choice(_COPIED)
        (link,) = self._shape.tables[table].joins
        twins = self._desk.run(
            f"select ctid::text, {link} from crm.{table} t where {link} in"
            f" (select {link} from crm.{table} group by 1 having count(*) > 1) order by 2, {BY_CONTENT}"
        )
        roll = self._rng.random()
        if not twins or roll < 0.3:
            self._make_copy(table, link)
        elif roll < 0.65:
            place, _ = self._rng.choice(twins)
            column, value = ("status", self._rng.choice(_STATUSES))
            if table == "leads":
                column, value = "city", f"Town {self._rng.randrange(100)}"
            self._desk.run(
                f"update crm.{table} set {column} = %(value)s, updated_at = %(now)s where ctid = %(place)s::tid",
                value=value,
                place=place,
            )
        else:
            place, _ = self._rng.choice(twins)
            self._desk.run(f"delete from crm.{table} where ctid = %(place)s::tid", place=place)

    def _make_copy(self, table: str, link: str) -> None:
        row = self._desk.some(table, f"{link}, ctid::text", f"{link} is not null")
        if row is None:
            return
        (key,) = self._shape.tables[table].key
        self._copies += 1
        own = {} if key == link else {key: f"{'L' if table == 'leads' else 'J'}copy{self._copies}"}
        names = "*"
        if self._shape.seen != "crm":
            # A view shows where a row stands, too.
            found = self._desk.run(f"select to_jsonb(t) - 'ctid' from crm.{table} t limit 1")
            names = ", ".join(found[0][0])
        into = "" if names == "*" else f"({names})"
        self._desk.run(
            f"insert into crm.{table} {into} select {names} from (select (jsonb_populate_record(t,"
            " jsonb_build_object('updated_at', %(now)s::timestamptz) || %(own)s::jsonb)).* from crm."
            f"{table} t where ctid = %(place)s::tid) v",
            own=json.dumps(own),
            place=row[1],
        )

    def _set(self, table: str, key: dict[str, Any], column: str, value: Any) -> None:
        self._write(f"update crm.{table} set {column} = %(value)s, updated_at = %(now)s", key, value=value)

    def _write(self, statement: str, key: dict[str, Any], **values: Any) -> None:
        where = " and ".join(f"{name} = %(key_{n})s" for n, name in enumerate(key))
        keys = {f"key_{n}": value for n, value in enumerate(key.values())}
        self._desk.run(f"{statement} where {where}", **values, **keys)
