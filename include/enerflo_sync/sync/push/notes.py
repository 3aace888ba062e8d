"""5.1: notes of the CRM appear at Enerflo once, however often the answer to one of them is lost.

Enerflo has no key by which a repeated note is known (REFERENCE.md §14): a note that stands on the install
with the same text, and that no row of the CRM names, is taken for the one that was to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from enerflo_sync.crm.mapping import TableName
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.templates import filled
from enerflo_sync.enerflo.notes import add_note
from enerflo_sync.inbox.event import Need, Subject
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.sync.push.bodies import note_body
from enerflo_sync.sync.push.changes import Change, key_text
from enerflo_sync.sync.push.errand import Errand, deliver
from enerflo_sync.sync.push.links import Link, LinkState, link_columns, link_state
from enerflo_sync.sync.push.run import PushRun, Verdict
from enerflo_sync.sync.settle import Decision

# Enerflo dates a note by its own clock, to the second.
_SLACK_SECONDS = 900


@dataclass(frozen=True)
class Draft:
    """One note of the CRM.

    :param text: what is written.
    :param body: what the CRM's note says, to know it by where somebody wrote it at Enerflo by hand.
    """

    key: Mapping[str, Any]
    changes: Sequence[Change]
    text: str
    body: str

    @property
    def sent_at(self) -> datetime | None:
        """Return when it was sent by a run that did not see it arrive."""
        return next((change.sent_at for change in self.changes if change.sent_at), None)


def install_of_notes(
    comparisons: Mapping[TableName, Comparison], changes: Sequence[Change]
) -> dict[str, str]:
    """Return the install on which each new note belongs, by the text of the note's key."""
    comparison = comparisons.get(TableName.NOTES)
    column = comparison.mapping.install_column if comparison is not None else None
    return {
        key_text(change): str(change.after)
        for change in changes
        if change.table == TableName.NOTES and change.op == "insert" and change.field == column
    }


def push_notes(run: PushRun, install: str, changes: Sequence[Change]) -> None:
    """Write the new notes of one install."""
    by_key: dict[str, list[Change]] = {}
    for change in changes:
        by_key.setdefault(key_text(change), []).append(change)
    drafts = [found for rows in by_key.values() if (found := _draft(run, install, rows)) is not None]
    by_position = {draft.changes[0].position: draft for draft in drafts}
    if drafts:
        errands = [Errand(draft.changes, _writer(run, install, draft)) for draft in drafts]
        deliver(run, errands, lambda open_: _look(run, install, open_, by_position))


def _draft(run: PushRun, install: str, changes: Sequence[Change]) -> Draft | None:
    """Return one note to be written; None where it was ended at once."""
    comparison, key = run.comparisons[TableName.NOTES], changes[0].key
    with run.connection.begin():
        state = link_state(run.connection, comparison, key)
    if state is not LinkState.OPEN:
        what = "is gone" if state is LinkState.GONE else "names a note of Enerflo"
        run.finish([Verdict(changes, Decision.MOVED, f"the CRM's row {what} by now.")])
        return None
    row: dict[str, Any] = {**key, **{change.field or "": change.after for change in changes}}
    text = filled(run.config.writes.note.text, row)
    fields = comparison.mapping.fields.items()
    body = next((row.get(name) for name, field in fields if field.enerflo == "body"), None)
    if not install.isdigit() or text is None or not text.strip():
        what = "names no install of Enerflo" if not install.isdigit() else "has no text"
        run.finish([Verdict(changes, Decision.PARKED, f"the note {what}.")])
        return None
    return Draft(key, changes, text, str(body or text))


def _writer(run: PushRun, install: str, draft: Draft) -> Callable[[Sequence[Change]], object]:
    return lambda _: add_note(run.client, install, note_body(run.config.writes, draft.text))


def _look(
    run: PushRun, install: str, errands: Sequence[Errand], by_position: Mapping[int, Draft]
) -> list[Verdict]:
    """Read the install's notes and return which of the drafts are among them."""
    drafts = [(by_position[errand.changes[0].position], errand) for errand in errands]
    now = run.clock.now()
    since = min((draft.sent_at or now for draft, _ in drafts), default=now)
    # Only the moment counts: from then on notes are listed where Enerflo does not answer for one install's.
    asking = Waiting("", "push", (), since, "", 0)
    run.bring_in(lambda reads: reads.read(Need(Subject.NOTES, install), [asking]))
    free = _unclaimed(run, install)
    verdicts: list[Verdict] = []
    # Those on their way first: what stands there is theirs before it is anybody else's.
    drafts.sort(key=lambda pair: pair[0].sent_at is None and pair[1].last is None)
    for wording in ("text", "body"):
        for draft, errand in drafts:
            changes = run.open(draft.changes)
            taken = any(changes == verdict.changes for verdict in verdicts)
            sent_at = now if errand.last is not None else draft.sent_at
            note = None if taken else _same_note(getattr(draft, wording), sent_at, free)
            if note is not None:
                free.remove(note)
                link = Link(run.comparisons[TableName.NOTES], draft.key, note)
                verdicts.append(Verdict(changes, Decision.APPLIED, _how(errand), link))
    return verdicts


def _how(errand: Errand) -> str | None:
    how = errand.how
    return "found there" if how == "was already so" else how


def _unclaimed(run: PushRun, install: str) -> list[dict[str, Any]]:
    """Return the install's notes that no row of the CRM names, oldest first."""
    comparison = run.comparisons[TableName.NOTES]
    named = " and ".join(
        f"t.{quoted(column)}::text = e.{quoted(mirror)}::text"
        for column, mirror in link_columns(comparison).items()
    )
    with run.connection.begin():
        rows = run.connection.exec_driver_sql(
            "/* enerflo-sync push: notes that no row of the CRM names */"  # noqa: S608 - names of the mapping
            " select to_jsonb(e.*) from enerflo.notes e"
            " where e.account = %(account)s and e.install_id = %(install)s"
            f" and not exists (select from {comparison.crm} t where {named or 'false'})"
            " order by e.deleted_at is not null, e.created_at, e.note_id",
            {"account": run.account, "install": int(install)},
        )
        return list(rows.scalars())


def _same_note(text: str, sent_at: datetime | None, notes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    wanted = _plain(text)
    return next((note for note in notes if _plain(note["body"]) == wanted and _counts(note, sent_at)), None)


def _counts(note: Mapping[str, Any], sent_at: datetime | None) -> bool:
    """Return whether a note may be ours: a deleted one only where it was made after ours was sent."""
    if note["deleted_at"] is None:
        return True
    if sent_at is None or note["created_at"] is None:
        return False
    return (sent_at - datetime.fromisoformat(note["created_at"])).total_seconds() <= _SLACK_SECONDS


def _plain(text: str | None) -> str:
    """Return a text as it is compared: how lines end, and space around it, is Enerflo's affair."""
    return (text or "").replace("\r\n", "\n").strip()
