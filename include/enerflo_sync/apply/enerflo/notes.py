"""Exchange 5.1: creates the CRM's notes at Enerflo, each once, even if the response to a request is lost.

Enerflo has no key that identifies a repeated note (REFERENCE.md §14). The response contains the new note's
id. If it was lost, a note on the install with the same text and no CRM row counts as ours; among notes
created since the request, also one with a similar text (:mod:`enerflo_sync.outbox.kept`). The note is sent
again only if the install's list shows all notes that were known before, and neither that list nor the list of
all notes shows this one. A note that Enerflo accepted is never sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.apply.enerflo.write_requests import WriteRequest, deliver
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.templates import filled
from enerflo_sync.enerflo.failures import VendorRefusedError
from enerflo_sync.enerflo.notes import add_note
from enerflo_sync.errors import BadRecordError, ContractDriftError
from enerflo_sync.inbox.answers import Answer, record_id_of
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.outbox.bodies import note_body
from enerflo_sync.outbox.changes import OutboxChange, key_text
from enerflo_sync.outbox.kept import is_alike, is_stored_form, made_since, may_be_made_since, note_in_answer
from enerflo_sync.outbox.links import Link, LinkState, id_on_its_way, link_columns, link_state
from enerflo_sync.outbox.reasons import ALREADY_SO
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.notes import NOTES, NOTES_OF

# How long an accepted note is searched for before its changes are parked for a person.
_SHOWN_AFTER = timedelta(hours=1)
_NOT_SHOWN = (
    "Enerflo accepted the note and does not show it: find it there, and put its id into the CRM's row."
)
# How long a list that leaves out known notes is read again. Deleted notes are seen by two polls of all notes.
_WHOLE_AFTER = timedelta(days=3)
_NOT_LISTED = (
    "its request was sent, and Enerflo's list of the install's notes lacks notes that were there, so it does"
    " not tell whether this one arrived: put the note's id into the CRM's row, or write the note there."
)
_AMBIGUOUS = (
    "it was sent, and Enerflo may have it in another spelling: put the note's id into the CRM's row by hand,"
    " or write the note there where it is missing."
)


@dataclass(frozen=True)
class Draft:
    """One note of the CRM that is to be sent.

    :param text: the text that is sent.
    :param body: the text of the CRM's note, which identifies a note that somebody wrote at Enerflo by hand.
    """

    key: Mapping[str, Any]
    changes: Sequence[OutboxChange]
    text: str
    body: str

    @property
    def sent_at(self) -> datetime | None:
        """Return when an earlier run sent the note without seeing the result; None if none did."""
        return next((change.sent_at for change in self.changes if change.sent_at), None)

    @property
    def accepted_at(self) -> datetime | None:
        """Return when Enerflo accepted the note in an earlier run, which did not find it; else None."""
        return next((change.accepted_at for change in self.changes if change.accepted_at), None)


def install_of_notes(
    comparisons: Mapping[str, Comparison], changes: Sequence[OutboxChange]
) -> dict[tuple[str, str], str]:
    """Return the install of each new note, by the note's table and the text of its key."""
    columns = {
        name: comparison.mapping.install_column
        for name, comparison in comparisons.items()
        if comparison.kind == RecordKind.NOTES
    }
    return {
        (change.table, key_text(change)): str(change.after)
        for change in changes
        if change.table in columns and change.op == "insert" and change.field == columns[change.table]
    }


def push_notes(run: PushRun, install: str, changes: Sequence[OutboxChange]) -> None:
    """Write the new notes of one install from one CRM table."""
    run.leave_moved(changes)
    by_key: dict[str, list[OutboxChange]] = {}
    for change in run.open(changes):
        by_key.setdefault(key_text(change), []).append(change)
    drafts = [found for rows in by_key.values() if (found := _draft(run, install, rows)) is not None]
    if drafts:
        looking = _Looking(run, install, {draft.changes[0].position: draft for draft in drafts})
        deliver(run, [WriteRequest(d.changes, looking.writer(d), once=True) for d in drafts], looking.look)


def _draft(run: PushRun, install: str, changes: Sequence[OutboxChange]) -> Draft | None:
    """Return one note to be sent; None if its outcome is already recorded."""
    comparison, key = run.comparisons[changes[0].table], changes[0].key
    with run.connection.begin():
        state = link_state(run.connection, comparison, key)
    if state is not LinkState.OPEN:
        what = "names a note of Enerflo" if state is LinkState.LINKED else "is gone"
        run.finish([PushOutcome(changes, Decision.MOVED, f"the CRM's row {what} by now.")])
        return None
    row: dict[str, Any] = {**key, **{change.field or "": change.after for change in changes}}
    text = filled(run.config.writes.note.text, row)
    fields = comparison.mapping.fields.items()
    body = next((row.get(name) for name, field in fields if field.enerflo == "body"), None)
    if not install.isdigit() or text is None or not text.strip():
        what = "names no install of Enerflo" if not install.isdigit() else "has no text"
        run.finish([PushOutcome(changes, Decision.PARKED, f"the note {what}.")])
        return None
    return Draft(key, changes, text, str(body or text))


class _Looking:
    """Searches for an install's drafts among its notes, and knows which notes existed before the requests."""

    def __init__(self, run: PushRun, install: str, by_position: Mapping[int, Draft]) -> None:
        self._run = run
        self._install = install
        self._by_position = by_position
        # The notes that existed before this run sent anything.
        self._before: set[int] = set()
        self._looked = False
        self._notes = run.comparisons[next(iter(by_position.values())).changes[0].table]

    def writer(self, draft: Draft) -> Callable[[Sequence[OutboxChange]], object]:
        """Return the function that sends a draft."""
        run = self._run

        def write(changes: Sequence[OutboxChange]) -> bytes:
            answer = add_note(run.client, self._install, note_body(run.config.writes, draft.text))
            note = note_in_answer(answer, self._before)
            run.accepted(changes, None if note is None else int(note["note_id"]))
            return answer

        return write

    def look(self, requests: Sequence[WriteRequest]) -> list[PushOutcome]:
        """Read the install's notes and return the outcomes of the drafts that are among them."""
        drafts = [(self._by_position[request.changes[0].position], request) for request in requests]
        free = self._read(drafts)
        named = {int(note["note_id"]): note for note in free}
        verdicts: list[PushOutcome] = []
        mine: set[int] = set()

        def take(draft: Draft, request: WriteRequest, note: Mapping[str, Any]) -> None:
            mine.add(int(note["note_id"]))
            verdicts.append(_found(self._run, draft, request, note))

        left = []
        for draft, request in drafts:
            known = _accepted_note(self._run, draft, request, named, self._before)
            if known is None:
                left.append((draft, request))
            else:
                take(draft, request, known)
        # A note that may come from a sent draft must not be given to a draft that was never sent. So sent
        # drafts are matched first.
        sent = [(draft, request) for draft, request in left if request.may_be_there]
        fresh = [(draft, request) for draft, request in left if not request.may_be_there]
        for some in (sent, fresh):
            for wording in ("text", "body"):
                for draft, request in list(some):
                    notes = [note for note in free if int(note["note_id"]) not in mine]
                    note = _same_note(getattr(draft, wording), self._sent_at(draft, request), notes)
                    if note is not None:
                        some.remove((draft, request))
                        take(draft, request, note)
            if some is sent:
                self._alike(sent, free, mine, take, verdicts)
        # The warehouse may have been set back to before a note was sent.
        for wording in ("text", "body"):
            for draft, request in list(fresh):
                notes = [note for note in free if int(note["note_id"]) not in mine]
                if note := _stored_note(getattr(draft, wording), notes):
                    fresh.remove((draft, request))
                    take(draft, request, note)
        return verdicts

    def _alike(
        self,
        sent: Sequence[tuple[Draft, WriteRequest]],
        free: Sequence[Mapping[str, Any]],
        mine: set[int],
        take: Callable[[Draft, WriteRequest, Mapping[str, Any]], None],
        verdicts: list[PushOutcome],
    ) -> None:
        """Match sent drafts with later notes of a similar text; park a draft whose note is ambiguous."""
        claims = [
            (draft, request, found)
            for draft, request in sent
            if (
                found := [
                    n for n in free if int(n["note_id"]) not in mine and self._is_since(draft, request, n)
                ]
            )
        ]
        for draft, request, found in claims:
            open_ = [note for note in found if int(note["note_id"]) not in mine]
            one = open_ and len({_plain(note["body"]) for note in open_}) == 1
            if one and made_since(open_[0], self._sent_at(draft, request) or self._run.clock.now()):
                take(draft, request, open_[0])
            else:
                verdicts.append(PushOutcome(self._run.open(draft.changes), Decision.PARKED, _AMBIGUOUS))
        claimed = {id(draft) for draft, _, _ in claims}
        # While the CRM's row was gone, a plan may have imported our own note as a note of Enerflo.
        again = [(draft, request) for draft, request in sent if draft.sent_at and id(draft) not in claimed]
        imported = _imported(self._run, self._notes, self._install) if again else []
        for draft, request in again:
            if any(self._is_since(draft, request, note) for note in imported):
                claimed.add(id(draft))
                verdicts.append(PushOutcome(self._run.open(draft.changes), Decision.PARKED, _AMBIGUOUS))
        now = self._run.clock.now()
        for draft, request in sent:
            if id(draft) in claimed:
                continue
            if draft.accepted_at is not None and now - draft.accepted_at > _SHOWN_AFTER:
                verdicts.append(PushOutcome(self._run.open(draft.changes), Decision.PARKED, _NOT_SHOWN))
            elif request.unseen and draft.sent_at is not None and now - draft.sent_at > _WHOLE_AFTER:
                verdicts.append(PushOutcome(self._run.open(draft.changes), Decision.PARKED, _NOT_LISTED))

    def _is_since(self, draft: Draft, request: WriteRequest, note: Mapping[str, Any]) -> bool:
        if not any(is_alike(text, note["body"] or "") for text in (draft.text, draft.body)):
            return False
        if draft.sent_at is None:
            return request.last is not None and int(note["note_id"]) not in self._before
        return may_be_made_since(note, draft.sent_at)

    def _sent_at(self, draft: Draft, request: WriteRequest) -> datetime | None:
        return draft.sent_at or (self._run.clock.now() if request.last is not None else None)

    def _read(self, drafts: Sequence[tuple[Draft, WriteRequest]]) -> list[dict[str, Any]]:
        """Load the install's notes into the mirror and return those that no row of the CRM names."""
        run = self._run
        now = run.clock.now()
        since = min((draft.sent_at or now for draft, _ in drafts), default=now)
        # Only the time is used: if Enerflo cannot list the notes of one install, all notes since that time
        # are listed.
        asking = Waiting("", "push", (), since, "", 0)
        answer = run.bring_in(lambda reads: reads.read(Need(NOTES_OF, self._install), [asking]))
        doubted = [request for _, request in drafts if request.may_be_there and not request.accepted]
        if doubted:
            leaves_out = _leaves_out(run, self._install, answer)
            for request in doubted:
                request.unseen = leaves_out
            # The list of one install does not say how long it is, so it may be cut; that of all notes does.
            with suppress(ContractDriftError, VendorRefusedError):
                run.bring_in(lambda reads: reads.notes_created_since(since))
        if not self._looked:
            self._looked, self._before = True, _known(run, self._install)
        return _unclaimed(run, self._notes, self._install)


def _accepted_note(
    run: PushRun,
    draft: Draft,
    request: WriteRequest,
    named: Mapping[int, Mapping[str, Any]],
    before: Container[int],
) -> Mapping[str, Any] | None:
    """Return the note whose id the response contained, even if Enerflo's list does not show it yet."""
    note = (
        note_in_answer(request.last.value, before) if request.last is not None and request.accepted else None
    )
    note_id = note["note_id"] if note is not None else next(c.accepted_id for c in draft.changes)
    if note_id is None or note_id in named:
        return None if note_id is None else named[note_id]
    if note is None:
        return {"note_id": note_id}
    raw = msgspec.json.encode(note)
    try:
        run.bring_in(lambda _: Answer([(NOTES, [raw])]), NOTES)
    except BadRecordError:
        return {"note_id": note_id}
    return {"note_id": note_id, "body": note.get("note")}


def _found(run: PushRun, draft: Draft, request: WriteRequest, note: Mapping[str, Any]) -> PushOutcome:
    """Return the outcome of a found draft, with the note's id for its row and the text as Enerflo has it."""
    comparison = run.comparisons[draft.changes[0].table]
    changes = run.open(draft.changes)
    fields = comparison.mapping.fields
    body = note.get("body")
    respelled = body is not None and _plain(body) not in (_plain(draft.text), _plain(draft.body))
    kept = {
        change.position: body
        for change in changes
        if respelled and change.field in fields and fields[change.field].enerflo == "body"
    }
    return PushOutcome(changes, Decision.APPLIED, _how(request), Link(comparison, draft.key, note), kept)


def _how(request: WriteRequest) -> str | None:
    how = request.how
    return "found there" if how == ALREADY_SO else how


def _known(run: PushRun, install: str) -> set[int]:
    """Return the ids of all notes of an install in the mirror."""
    with run.connection.begin():
        ids = run.connection.exec_driver_sql(
            "/* enerflo-sync push: notes of an install */"
            " select note_id from enerflo.notes where account = %(account)s and install_id = %(install)s",
            {"account": run.account, "install": int(install)},
        )
        return set(ids.scalars())


def _leaves_out(run: PushRun, install: str, answer: Answer) -> bool:
    """Return whether a list lacks a living note of the mirror, as a list that is cut does.

    Such a list is no evidence that another note is not there. A note that was deleted at Enerflo is lacking
    as well, until polls have seen that twice.
    """
    rows = (raw for resource, found in answer.records if resource is NOTES for raw in found)
    listed = [number for raw in rows if (number := record_id_of(NOTES, bytes(raw))) is not None]
    named = {"account": run.account, "install": int(install), "listed": listed, "since": answer.since}
    with run.connection.begin():
        found = run.connection.exec_driver_sql(
            "/* enerflo-sync push: living notes of an install that a list lacks */"
            " select exists (select from enerflo.notes"
            " where account = %(account)s and install_id = %(install)s and deleted_at is null"
            " and note_id <> all(%(listed)s::bigint[])"
            " and (created_at >= %(since)s or %(since)s::timestamptz is null))",
            named,
        )
        return bool(found.scalar_one())


def _unclaimed(run: PushRun, comparison: Comparison, install: str) -> list[dict[str, Any]]:
    """Return the install's notes that no row of the CRM's table names, oldest first.

    Where the table is only a copy, a note whose id is on its way to a row counts as named.
    """
    named = " and ".join(
        f"({join.crm})::text = ({join.mirror})::text"
        for join in comparison.joins
        if join.crm_name in link_columns(comparison)
    )
    with run.connection.begin():
        rows = run.connection.exec_driver_sql(
            "/* enerflo-sync push: notes that no row of the CRM names */"  # noqa: S608 - names of the mapping
            " select to_jsonb(e.*) from enerflo.notes e"
            " where e.account = %(account)s and e.install_id = %(install)s"
            f" and not exists (select from {comparison.crm} t where {named or 'false'})"
            f" and not {id_on_its_way(comparison, 'e.note_id::text')}"
            " order by e.deleted_at is not null, e.created_at, e.note_id",
            {"account": run.account, "install": int(install)},
        )
        return list(rows.scalars())


def _imported(run: PushRun, comparison: Comparison, install: str) -> list[dict[str, Any]]:
    """Return the install's notes from which a plan created rows of the CRM's table."""
    with run.connection.begin():
        rows = run.connection.exec_driver_sql(
            "/* enerflo-sync push: notes of which rows of the CRM were made */"
            " select to_jsonb(e.*) from enerflo.notes e"
            " where e.account = %(account)s and e.install_id = %(install)s and exists ("
            "  select from sync.plan_changes p where p.account = e.account and p.table_name = %(table)s"
            "  and p.op = 'insert' and p.direction = 'to_crm' and p.state = 'applied'"
            "  and p.enerflo_key = jsonb_build_object('note_id', e.note_id))",
            {"account": run.account, "install": int(install), "table": comparison.name},
        )
        return list(rows.scalars())


def _same_note(text: str, sent_at: datetime | None, notes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    wanted = _plain(text)
    return next((note for note in notes if _plain(note["body"]) == wanted and _counts(note, sent_at)), None)


def _stored_note(text: str, notes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a note whose whole text is ``text`` as a vendor may store it."""
    return next((n for n in notes if is_stored_form(text, n["body"] or "") and _counts(n, None)), None)


def _counts(note: Mapping[str, Any], sent_at: datetime | None) -> bool:
    """Return whether a note may be ours: a deleted note only if it was created after ours was sent."""
    return note["deleted_at"] is None or (sent_at is not None and made_since(note, sent_at))


def _plain(text: str | None) -> str:
    """Return a text for comparison, without differences in line ends and surrounding space."""
    return (text or "").replace("\r\n", "\n").strip()
