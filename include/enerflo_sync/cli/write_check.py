"""``enerflo-sync doctor --write-check``: try the undocumented write bodies on a given install."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from enerflo_sync.cli.check import Check, made
from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import WriteBodies
from enerflo_sync.enerflo.failures import AuthenticationError, OutcomeUnknownError
from enerflo_sync.enerflo.installs import read_install, update_install
from enerflo_sync.enerflo.milestones import update_milestone
from enerflo_sync.enerflo.notes import add_note, read_install_notes
from enerflo_sync.errors import BadRecordError, EnerfloSyncError, FatalError, NotFoundError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.outbox.bodies import milestone_body, note_body, sent_time, status_body
from enerflo_sync.resources.fingerprint import decode, stable_bytes
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTE_LIST, NOTES
from enerflo_sync.resources.resource import Resource

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_DATES = ("completed_at", "started_at")
_LOOKBACK = timedelta(minutes=15)


def write_checks(context: AccountContext, install_id: int) -> Iterator[Check]:
    """Yield one check per kind of write; afterwards the install has one more note and no other change."""
    checked = WriteCheck(context.client, context.config.writes, context.clock, install_id)
    yield made("writes.status", checked.status)
    yield made("writes.milestone", checked.milestone)
    yield made("writes.note", checked.note)


@dataclass(frozen=True)
class WriteCheck:
    """Writes to one install the values that it already has, and one note."""

    client: EnerfloClient
    writes: WriteBodies
    clock: Clock
    install_id: int

    def status(self) -> str:
        """Set the status that the install already has, and return the result.

        Enerflo may ignore a field name that it does not know, and the status is the same then, too.

        :raises EnerfloSyncError: Enerflo refuses it, its answer is lost, or the status or another field
            differs afterwards.
        """
        option = f"writes.status.status: {self.writes.status.status}"
        before, _ = self._read()
        if before["status_id"] is None:
            return f"skipped: install {self.install_id} shows no status id"
        body = status_body(self.writes, before["status_id"])
        answered = _sent(option, lambda: update_install(self.client, self.install_id, body))
        after, _ = self._read()
        if after["status_id"] != before["status_id"]:
            raise _changed(option, f"status id {before['status_id']}", f"{after['status_id']}")
        _require_no_other_change(option, "status", before, after)
        if not answered:
            raise _not_answered(option)
        return f"{option} is not refused, and the status stays {after['status_name']}"

    def milestone(self) -> str:
        """Set a date that a milestone already has, and return the result; raises as :meth:`status`."""
        _, rows = self._read()
        dated = ((row, column) for row in rows for column in _DATES if row[column] is not None)
        row, column = next(dated, (None, ""))
        if row is None:
            return f"skipped: no milestone of install {self.install_id} has a start or a completion"
        option = f"writes.milestone.{column}: {getattr(self.writes.milestone, column)}"
        moment, milestone_id = sent_time(row[column]), row["milestone_id"]
        body = milestone_body(self.writes, {column: moment})
        answered = _sent(option, lambda: update_milestone(self.client, self.install_id, milestone_id, body))
        _, rows = self._read()
        after = next((one for one in rows if one["milestone_id"] == milestone_id), {})
        now = sent_time(after.get(column))
        if now != moment:
            raise _changed(option, f"{column} of milestone {milestone_id} {moment}", f"{now}")
        _require_no_other_change(option, f"{column} of milestone {milestone_id}", row, after)
        if not answered:
            raise _not_answered(option)
        return f"{option} is not refused, and {column} of milestone {milestone_id} stays {moment}"

    def note(self) -> str:
        """Add a note, read it back, and return its id; raises as :meth:`status`."""
        option = f"writes.note.body: {self.writes.note.body}"
        began = self.clock.now()
        text = f"enerflo-sync write check, {began:%Y-%m-%d %H:%M:%S.%f} UTC"
        body = note_body(self.writes, text)
        _sent(option, lambda: add_note(self.client, self.install_id, body))
        for raw in self._notes():
            try:
                (row,) = _rows(NOTES, raw)[0]
            except BadRecordError:
                continue
            if (row["body"] or "").strip() == text:
                return f"{option} is proven: note {row['note_id']} on install {self.install_id} has the text"
        raise EnerfloSyncError(
            "Enerflo took the note and shows none with its text.",
            where=option,
            next_step="Look at the install's notes in Enerflo, and write the field name that it expects.",
        )

    def _read(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        (install,), milestones = _rows(INSTALLS, read_install(self.client, self.install_id))
        return install, milestones

    def _notes(self) -> list[bytes]:
        try:
            return [bytes(raw) for raw in read_install_notes(self.client, self.install_id)]
        except NotFoundError:
            walk = NOTE_LIST.walk(self.client, self.clock.now() - _LOOKBACK)
            return [bytes(raw) for page in walk for raw in page.records]


def _rows(resource: Resource, raw: bytes) -> list[list[dict[str, Any]]]:
    record, _ = decode(stable_bytes(raw))
    return resource.rows_by_column(record)


def _sent(option: str, write: Callable[[], object]) -> bool:
    """Write, and return whether Enerflo answered; after a lost answer, the caller's next read decides.

    :raises EnerfloSyncError: Enerflo refuses the body; the error names the option that defines its form.
    """
    try:
        write()
    except OutcomeUnknownError:
        return False
    except AuthenticationError:
        raise
    except FatalError as error:
        raise EnerfloSyncError(
            f"wrong, or not allowed: {error.what}",
            where=option,
            next_step="Write the field name that Enerflo expects into sync.yaml, or give the key the right.",
        ) from error
    return True


def _not_answered(option: str) -> EnerfloSyncError:
    return EnerfloSyncError(
        "the answer was lost, so nobody can tell whether Enerflo takes it.",
        where=option,
        next_step="Run the check again.",
    )


def _require_no_other_change(
    option: str, what: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Return if a write left the record's other fields as they were.

    :raises EnerfloSyncError: it did not; the error names the fields.
    """
    others = sorted(name for name in before if name != "updated_at" and before[name] != after.get(name))
    if others:
        raise EnerfloSyncError(
            f"writing the {what} once more changed {', '.join(others)}, too.",
            where=option,
            next_step="Set it right in Enerflo, and let nothing of this kind be written (direction: to_crm)"
            " before Enerflo's support says how one field is set alone.",
        )


def _changed(option: str, before: str, after: str) -> EnerfloSyncError:
    return EnerfloSyncError(
        f"writing the {before} once more made it {after}.",
        where=option,
        next_step="Set it right in Enerflo, and correct the field name in sync.yaml.",
    )
