"""The people at the CRM: by seed they edit its rows as people do, each with one small statement."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from enerflo_sync.clock import Clock
from tests.simulation.declared import COLUMN
from tests.simulation.desk import Desk


class Edit(StrEnum):
    """What a person does to the CRM."""

    STATUS = "status"
    MILESTONE = "milestone"
    NOTE = "note"
    NEW_LEAD = "new_lead"
    LEAD = "lead"
    NOT_THEIRS = "not_theirs"
    DELETE = "delete"
    # Only where a plan asks for it.
    COMPLETION = "completion"


USUAL = tuple(edit for edit in Edit if edit is not Edit.COMPLETION)
_WEIGHTS = {
    Edit.STATUS: 6,
    Edit.MILESTONE: 8,
    Edit.NOTE: 5,
    Edit.NEW_LEAD: 3,
    Edit.LEAD: 5,
    Edit.NOT_THEIRS: 3,
    Edit.DELETE: 1,
    Edit.COMPLETION: 1,
}
_STATUSES = ("In progress", "On Hold", "on hold ", "Pending KCA", "Cancelled", "Completed", "Voided")
UNKNOWN_STATUS = "Waiting for the utility"
_DATES = ("started_at", "due_at", "completed_at")
_MOBILES = ("5125550{:03}", "+1 (512) 555-0{:03}", "512.555.0{:03} ", "512")
_STATES = ("MA", "Massachusetts", "tx")
_ZIPS = ("02139", "2139", "78701", "none")
_NUMBER = re.compile(r"Call about (\d+)")
# What Enerflo may spell its own way: HTML, blanks, a character beyond the basic plane.
_ODD = "  <soon> & \U0001f600 bring the plans of the roof"


def number_of_note(text: str) -> int | None:
    """Return which of the people's notes a text is, however it was corrected or re-spelled."""
    found = _NUMBER.match(text.strip())
    return None if found is None else int(found[1])


def text_of_note(row: Mapping[str, Any]) -> str:
    """Return what Enerflo is to be sent of a note."""
    return f"{row['body']}\n\n{row['author']} (CRM)" if row["author"] is not None else str(row["body"])


class People:
    """Edits the CRM, and remembers the notes and leads that came from it.

    :param odd: texts hold what Enerflo may spell its own way.
    :param days: milestones have days in text.
    :param marks: rows that are deleted stay, with a mark.
    :param lender: installs have a lender, which a declared column of the mirror has, too.
    :ivar notes: the keys of the rows of each note, by the number that its text has.
    :ivar leads: the keys of the leads that were made.
    :ivar word_of: returns the word that a person takes for a status.
    """

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        seed: int,
        *,
        odd: bool = False,
        days: bool = False,
        marks: bool = False,
        lender: bool = False,
    ) -> None:
        self.notes: dict[int, list[str]] = {}
        self.leads: set[str] = set()
        self.word_of: Callable[[str], str] = lambda status: status
        self._desk = desk
        self._run, self._some = desk.run, desk.some
        self._clock = clock
        self._odd = odd
        self._days = days
        self._marks = marks
        self._lender = lender
        self._rng = random.Random(f"{seed}/people")
        self._acts = {
            Edit.STATUS: self._status,
            Edit.MILESTONE: self._milestone,
            Edit.NOTE: self._note,
            Edit.NEW_LEAD: self._new_lead,
            Edit.LEAD: self._lead,
            Edit.NOT_THEIRS: self._not_theirs,
            Edit.DELETE: self._delete,
            Edit.COMPLETION: self._completion,
        }

    def work(self, kinds: tuple[Edit, ...] = ()) -> None:
        """Make one edit; none where there is nothing to edit, or a job holds the row."""
        choices = list(kinds or USUAL)
        edit = self._rng.choices(choices, [_WEIGHTS[one] for one in choices])[0]
        self._desk.edit(self._acts[edit])

    def _status(self) -> None:
        row = self._some("installs", "enerflo_install_id")
        status = UNKNOWN_STATUS if self._rng.random() < 0.05 else self._rng.choice(_STATUSES)
        if row is not None:
            self._run(
                "update crm.installs set status = %(status)s, updated_at = %(now)s"
                " where enerflo_install_id = %(id)s",
                **{"status": self.word_of(status), "id": row[0]},
            )

    def _milestone(self) -> None:
        row = self._some("milestones", "enerflo_install_id, milestone_id")
        column = self._rng.choice(_DATES)
        moment = self._clock.now() + timedelta(minutes=self._rng.randrange(-9000, 9000))
        if row is not None:
            self._run(
                f"update crm.milestones set {column} = %(moment)s, updated_at = %(now)s"
                " where enerflo_install_id = %(install)s and milestone_id = %(milestone)s",
                **{
                    "moment": None
                    if self._rng.random() < 0.1
                    else f"{moment:%Y-%m-%d}"
                    if self._days
                    else moment
                },
                **{"install": row[0], "milestone": row[1]},
            )

    def _completion(self) -> None:
        """Complete the last milestone of an install that is not completed yet."""
        row = self._some("installs", "enerflo_install_id", "status not in ('Completed', 'Voided')")
        if row is not None:
            self._run(
                "update crm.milestones set completed_at = %(moment)s, updated_at = %(now)s"
                " where enerflo_install_id = %(install)s and milestone_id = ("
                "select max(milestone_id) from crm.milestones where enerflo_install_id = %(install)s)",
                moment=self._clock.now() - timedelta(minutes=self._rng.randrange(9000)),
                install=row[0],
            )

    def _note(self) -> None:
        row = self._some("installs", "enerflo_install_id")
        author = self._rng.choice(("Ann", "Bob", None))
        copies = 2 if self._rng.random() < 0.3 else 1
        if row is None:
            return
        number = len(self.notes)
        body = f"Call about {number}{_ODD if self._odd else ''}"
        self.notes[number] = [f"N{number:04}-{copy}" for copy in range(copies)]
        for note_id in self.notes[number]:
            self._run(
                "insert into crm.notes (note_id, enerflo_install_id, author, body, created_at, updated_at)"
                " values (%(note)s, %(install)s, %(author)s, %(body)s, %(now)s, %(now)s)",
                **{"note": note_id, "install": row[0], "author": author, "body": body},
            )

    def _new_lead(self) -> None:
        key = f"L{len(self.leads):04}"
        rng = self._rng
        self._run(
            "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip,"
            " status, deal_type_id, updated_at) values (%(key)s, 'Jane', %(name)s, %(email)s, %(mobile)s,"
            " '12 Main St', 'Boston', %(state)s, %(zip)s, %(status)s, %(deal)s, %(now)s)",
            **{
                "key": key,
                "name": f"Doe  & {key}" if self._odd else f"Doe {key}",
                "email": f"{key}@example.com",
            },
            **{
                "mobile": rng.choice(_MOBILES[:3]).format(len(self.leads) % 1000),
                "state": rng.choice(_STATES),
            },
            **{
                "zip": rng.choice((*_ZIPS[:3], *_ZIPS)),
                "status": rng.choice(("new", "qualified", "qualified")),
            },
            **{"deal": rng.choice((7, None))},
        )
        self.leads.add(key)

    def _lead(self) -> None:
        row = self._some("leads", "lead_id")
        rng = self._rng
        column, value = rng.choice(
            (
                ("last_name", f"Doe {'<& sons> ' if self._odd else ''}{rng.randrange(1000)}"),
                ("mobile", rng.choice((*_MOBILES[:3], *_MOBILES)).format(rng.randrange(1000))),
                ("city", rng.choice(("Boston", " Austin", "Waco"))),
                ("state", rng.choice(_STATES)),
                ("zip", rng.choice((*_ZIPS[:3], *_ZIPS))),
                ("status", "qualified"),
                ("status", "qualified"),
                ("email", None),
            )
        )
        if row is not None:
            self._run(
                f"update crm.leads set {column} = %(value)s, updated_at = %(now)s where lead_id = %(key)s",
                **{"value": value, "key": row[0]},
            )

    def _not_theirs(self) -> None:
        """Change what the CRM should not: Enerflo is the source of truth."""
        n = self._rng.randrange(100)
        row = self._some("installs", "enerflo_install_id")
        column, value = self._rng.choice(
            (
                ("panel_count", n),
                ("contract_amount", n / 2),
                ("customer_name", f"Nobody {n}"),
                ("panel_type", None),
                *([(COLUMN, f"A bank {n}"), (COLUMN, None)] if self._lender else []),
            )
        )
        if row is not None:
            self._run(
                f"update crm.installs set {column} = %(value)s, updated_at = %(now)s"
                " where enerflo_install_id = %(id)s",
                **{"value": value, "id": row[0]},
            )

    def _delete(self) -> None:
        table, key = self._rng.choice(
            (
                ("notes", "note_id"),
                ("leads", "lead_id"),
                ("installs", "enerflo_install_id"),
                ("milestones", "enerflo_install_id"),
            )
        )
        if self._marks and self._rng.random() < 0.7:
            self._mark(table)
            return
        row = self._some(table, key)
        if row is None:
            return
        if table == "milestones":
            row = self._some(table, "enerflo_install_id, milestone_id")
            self._run(
                "delete from crm.milestones where enerflo_install_id = %(install)s and milestone_id = %(m)s",
                **{"install": row[0], "m": row[1]},
            )
        else:
            self._run(f"delete from crm.{table} where {key} = %(key)s", key=row[0])

    def _mark(self, table: str) -> None:
        """Mark a row as deleted, or bring one back."""
        row = self._some(table, "ctid::text", "is_deleted" if self._rng.random() < 0.4 else "not is_deleted")
        if row is not None:
            self._run(
                f"update crm.{table} set is_deleted = not is_deleted, updated_at = %(now)s"
                " where ctid = %(place)s::tid",
                place=row[0],
            )
