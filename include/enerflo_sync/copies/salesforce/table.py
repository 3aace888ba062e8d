"""Carrying the changes of one table to one object of Salesforce."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from enerflo_sync.agreed.handing_over import end_unmade, note_sending, note_taken
from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.agreed.written import zone_of
from enerflo_sync.clock import Clock
from enerflo_sync.copies.salesforce import reasons
from enerflo_sync.copies.salesforce.api import TOGETHER, Record, SalesforceObjectApi
from enerflo_sync.copies.salesforce.changes import RecordChanges
from enerflo_sync.copies.salesforce.judge import AFTER, BEFORE, OLD, UNREADABLE, UNTOLD, Judge, Judged
from enerflo_sync.copies.salesforce.session import (
    Answer,
    FailedError,
    NoAnswerError,
    NotTakenError,
    SalesforceSession,
)
from enerflo_sync.copies.salesforce.spelling import NotSpelledError, is_text, spelled
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.where import NEW_OUTSIDE
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.near_keys import is_near_any

logger = logging.getLogger(__name__)

# How often to read a record again that was modified, or whose answer was lost.
_ATTEMPTS = 5
# Seconds between two attempts; after them a new edit has a later second than the one that was read.
_WAIT = 2.0
# Salesforce gives times of modification, and its own time, in whole seconds.
_PAST_ITS_SECOND = timedelta(seconds=2)
# Refusals that do not concern the values.
_PASSING = frozenset({"UNABLE_TO_LOCK_ROW", "REQUEST_RUNNING_TOO_LONG", "SERVER_UNAVAILABLE"})
_GONE = frozenset({"NOT_FOUND", "ENTITY_IS_DELETED"})
_DUPLICATE = "DUPLICATE_VALUE"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


class TableCarrier:
    """Carries the open changes of one table, record by record; commits as it goes.

    :param connection: to the warehouse; has no open transaction.
    """

    def __init__(
        self,
        connection: sa.Connection,
        session: SalesforceSession,
        config: SyncConfig,
        comparison: Comparison,
        account: str,
        run_id: str,
        clock: Clock,
    ) -> None:
        to = comparison.mapping.to_salesforce
        assert to is not None  # noqa: S101 - a defect of ours
        where = str(config.table_spot(account, comparison.name, "salesforce"))
        self._connection, self._comparison, self._to = connection, comparison, to
        self._account, self._run_id, self._clock = account, run_id, clock
        self._api = SalesforceObjectApi(session, to.object)
        self._info = self._api.describe(f"{where}: tables.{comparison.name}.salesforce.object")
        self._judge = Judge(connection, comparison, account, self._info)
        # Records at which Salesforce fails each time, with the error; their changes stay open.
        self.left: dict[str, NoAnswerError] = {}
        self._writes = 0
        # Records at which requests failed since the last success.
        self._failing: set[int] = set()

    def carry(self, waiting: Sequence[RecordChanges]) -> None:
        """Carry changes; afterwards Salesforce has accepted each one, or it ended with a reason.

        :raises NoAnswerError: Salesforce is away, or the outcome of some requests is unknown; those stay
            open.
        :raises NotTakenError: Salesforce accepts no more requests for now; the rest stays open.
        """
        for record in waiting:
            self._park_what_cannot_be(record)
        there = [one for one in waiting if one.numbers and one.op != "insert" and one.id is not None]
        for first in range(0, len(there), TOGETHER):
            self._carry_there(there[first : first + TOGETHER])
            done = min(first + TOGETHER, len(there))
            logger.info("carried table=%s records=%d of=%d", self._comparison.name, done, len(there))
        for record in waiting:
            if record.op == "insert" and record.numbers:
                self._make(record)

    def _park_what_cannot_be(self, record: RecordChanges) -> None:
        """Park changes that cannot be made because of the id or of Salesforce's description of the object."""
        if record.id is not None and not _ID.fullmatch(record.id):
            self._end(record, record.numbers, Decision.PARKED, reasons.NO_ID)
            return
        if record.op == "delete":
            if not self._may_delete:
                self._end(record, record.numbers, Decision.PARKED, reasons.NOT_DELETED)
            elif not self._judge.knows_modified:
                self._end(record, record.numbers, Decision.PARKED, reasons.NO_TIME)
            return
        right = "createable" if record.op == "insert" else "updateable"
        for column, number in list(record.columns.items()):
            name = self._to.field_of(column)
            info = self._info.fields.get(name)
            if column not in self._comparison.live.columns or info is None:
                reason = f"{self._to.object} has no field {name}, or our user may not see it"
            elif not getattr(info, right):
                reason = f"the field {self._to.object}.{name} is not {right} for our user"
            else:
                continue
            # A record without one of its values would not be the record that was approved.
            numbers = record.numbers if record.op == "insert" else [number]
            self._end(record, numbers, Decision.PARKED, reason)
        if record.op == "insert" and record.numbers and self._external_id(record) is None:
            named = ", ".join(self._to.field_of(column) for column in record.key_values)
            self._end(record, record.numbers, Decision.PARKED, f"{reasons.NO_EXTERNAL_ID} {named} is none")

    @property
    def _may_delete(self) -> bool:
        marked = any(self._to.field_of(name) == "IsDeleted" for name in self._comparison.mapping.deleted_when)
        return self._to.delete and marked

    def _external_id(self, record: RecordChanges) -> tuple[str, Any] | None:
        """Return field and value of the only external id of a record to be made."""
        if len(record.key_values) != 1:
            return None
        ((column, value),) = record.key_values.items()
        info = self._info.fields.get(self._to.field_of(column))
        if info is None or not (info.finds_one and info.createable) or value is None:
            return None
        try:
            return info.name, spelled(value, info.type, "UTC")
        except NotSpelledError:
            return None

    # Existing records.

    def _carry_there(self, records: Sequence[RecordChanges]) -> None:
        left, tries, losses = list(records), Counter[int](), Counter[int]()
        while left:
            again: list[RecordChanges] = []
            read = list(self._read(left))
            for place, (record, found, judged) in enumerate(read):
                try:
                    done = self._send_or_end(record, found, judged)
                except NoAnswerError as error:
                    losses[id(record)] += 1
                    self._require_others_succeed(record, error, last=losses[id(record)] == _ATTEMPTS)
                    # Each of the other records may wait as long for its answer, so they are tried first.
                    again += [one for one, _, _ in read[place + 1 :]]
                    again += [record] if losses[id(record)] < _ATTEMPTS else []
                    break
                if done:
                    self._failing.clear()
                    continue
                tries[id(record)] += 1
                if tries[id(record)] < _ATTEMPTS:
                    again.append(record)
                else:
                    self._end(record, record.numbers, Decision.MOVED, reasons.RESTLESS)
            left = again
            if left:
                self._clock.sleep(_WAIT * (1 + len(self._failing)))

    def _require_others_succeed(self, record: RecordChanges, error: NoAnswerError, *, last: bool) -> None:
        """Raise the error if Salesforce is away; if it fails at this record alone, leave and note the record.

        :param last: the record is not tried again.
        """
        self._failing.add(id(record))
        alone = isinstance(error, FailedError) or self._writes > 0
        if len(self._failing) == _ATTEMPTS or (last and not alone):
            raise error
        if last:
            self.left[record.id or "a new record"] = error

    def _read(
        self, records: Sequence[RecordChanges]
    ) -> Iterator[tuple[RecordChanges, Record | None, Mapping[int, Judged]]]:
        """Yield each record as Salesforce has it now, with the judgement of its changes."""
        ids = list(dict.fromkeys(str(one.id) for one in records))
        found = dict(zip(ids, self._api.read(ids, self._judge.fields), strict=True))
        columns: dict[tuple[str, str | None], list[int]] = {}
        for one in records:
            for name, number in one.columns.items():
                columns.setdefault((one.op, name), []).append(number)
            if one.op == "delete":
                columns.setdefault((one.op, None), []).extend(one.numbers)
        there = {id_: record for id_, record in found.items() if record is not None}
        with self._connection.begin():
            judged = {one.number: one for one in self._judge.changes(there, columns)}
        for one in records:
            yield one, found[str(one.id)], judged

    def _send_or_end(self, record: RecordChanges, found: Record | None, judged: Mapping[int, Judged]) -> bool:
        """Send changes that still fit, end the others; return whether the record has no work left."""
        if found is None:
            if record.op == "delete":
                self._take(record, record.numbers)
            else:
                self._end(record, record.numbers, Decision.PARKED, reasons.NO_RECORD)
            return True
        due: list[Judged] = []
        for number in list(record.numbers):
            one = judged.get(number)
            if one is None or one.says == OLD:
                # The copy does not have the row any more, or is older than the record; the next copy decides.
                record.drop({number})
            elif one.says == UNTOLD:
                self._end(record, [number], Decision.PARKED, reasons.UNTOLD)
            elif one.says == AFTER:
                self._take(record, [number])
            elif one.says == UNREADABLE:
                self._end(record, [number], Decision.PARKED, reasons.UNREADABLE)
            elif one.says != BEFORE:
                reason = reasons.MOVED if one.says == "else" else reasons.OTHER_RECORD
                self._end(record, [number], Decision.MOVED, reason)
            elif one.sent_as_of is not None and found.modified > one.sent_as_of:
                self._end(record, [number], Decision.PARKED, reasons.IN_DOUBT)
            else:
                due.append(one)
        if not due:
            return True
        # Another edit within the second of the last modification would not change that time.
        if found.read_at is None or found.read_at - found.modified.replace(microsecond=0) < _PAST_ITS_SECOND:
            return False
        return self._send(record, found, due)

    def _send(self, record: RecordChanges, found: Record, due: Sequence[Judged]) -> bool:
        numbers = [one.number for one in due]
        values: dict[str, Any] = {}
        if record.op != "delete":
            for one in due:
                try:
                    values |= self._spelled(str(one.column), one.value)
                except NotSpelledError as error:
                    field = self._to.field_of(str(one.column))
                    self._end(record, [one.number], Decision.PARKED, f"{self._to.object}.{field}: {error}")
            numbers = [one for one in numbers if one in record.numbers]
            if not values:
                return True
        # The outcome of an earlier request without an answer stays unknown, whatever this request returns.
        first = [one.number for one in due if one.sent_as_of is None]
        with self._connection.begin():
            note_sending(self._connection, self._account, numbers, found.modified)
        try:
            answer = self._api.delete(found) if record.op == "delete" else self._api.update(found, values)
        except (NotTakenError, ConfigurationError):
            self._note_not_sent(first)
            raise
        if answer.status < 300 or (record.op == "delete" and answer.codes & _GONE):
            self._writes += 1
            self._take(record, numbers)
            return True
        self._note_not_sent(first)
        if answer.status == 412 or answer.codes & _PASSING:
            return False
        if record.op == "delete" and answer.status == 404:
            return False
        if answer.codes & _GONE or answer.status == 404:
            self._end(record, numbers, Decision.PARKED, reasons.NO_RECORD)
        else:
            self._end(record, numbers, Decision.PARKED, reasons.refused(answer))
        return True

    # Records to be made.

    def _make(self, record: RecordChanges) -> None:
        external = self._external_id(record)
        assert external is not None  # noqa: S101 - parked otherwise
        field, key = external
        lost: NoAnswerError | None = None
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._clock.sleep(_WAIT)
            found = self._api.find(field, str(key), self._judge.fields)
            if found is not None:
                self._compare_made(record, found)
                return
            if not attempt and self._is_spelled_otherwise(field, str(key)):
                self._end(record, record.numbers, Decision.MOVED, reasons.OTHER_SPELLING)
                return
            try:
                answer = self._create(record, field, key)
            except NoAnswerError as error:
                lost = error
                continue
            except (NotTakenError, ConfigurationError):
                self._note_not_sent(record.numbers)
                raise
            if answer is None:
                return
            lost = None
            if answer.status < 300:
                self._writes += 1
                self._take(record, record.numbers)
                return
            self._note_not_sent(record.numbers)
            reason = reasons.refused(answer)
            # A record with this external id may exist now, so it is looked up.
            if not (_DUPLICATE in answer.codes or answer.codes & _PASSING):
                break
        if lost is not None:
            self._require_others_succeed(record, lost, last=True)
            return
        self._end(record, record.numbers, Decision.PARKED, reason)

    def _is_spelled_otherwise(self, field: str, key: str) -> bool:
        """Return whether a record that the copy does not have yet may have the same key in another spelling.

        For Salesforce ``01234`` and ``1234`` are two external ids, so it would make a second record.
        """
        if not is_text(self._info.fields[field].type):
            return False
        others = self._api.alike(field, key.strip().lstrip("+0") or key)
        if others is None:
            return True
        with self._connection.begin():
            return is_near_any(self._connection, key, others)

    def _create(self, record: RecordChanges, field: str, key: Any) -> Answer | None:
        try:
            with self._connection.begin():
                counts = self._judge.would_count(record, field)
                written = self._judge.values(record.columns)
        except DBAPIError as error:
            if not (getattr(error.orig, "sqlstate", None) or "").startswith("22"):
                raise
            self._end(record, record.numbers, Decision.PARKED, reasons.UNREADABLE)
            return None
        if not counts:
            self._end(record, record.numbers, Decision.PARKED, NEW_OUTSIDE)
            return None
        values: dict[str, Any] = {}
        try:
            for column, value in written.items():
                # An empty value is left to the object's default.
                values |= self._spelled(column, value) if value is not None else {}
        except NotSpelledError as error:
            self._end(record, record.numbers, Decision.PARKED, f"{self._to.object}: {error}")
            return None
        with self._connection.begin():
            note_sending(self._connection, self._account, record.numbers, self._clock.now())
        return self._api.create(values | {field: key})

    def _compare_made(self, record: RecordChanges, found: Record) -> None:
        """Treat an existing record as ours if it has all values that ours should have."""
        columns: dict[tuple[str, str | None], list[int]] = {
            ("insert", name): [number] for name, number in record.columns.items()
        }
        with self._connection.begin():
            judged = self._judge.new_rows(record.key, found, columns)
        said = {one.number for one in judged if one.says == AFTER}
        if said == set(record.numbers):
            self._take(record, record.numbers)
        else:
            self._end(record, record.numbers, Decision.MOVED, reasons.EXISTS)

    # Outcomes of changes.

    def _spelled(self, column: str, value: Any) -> dict[str, Any]:
        info = self._info.fields[self._to.field_of(column)]
        return {info.name: spelled(value, info.type, zone_of(self._comparison, column))}

    def _take(self, record: RecordChanges, numbers: Sequence[int]) -> None:
        with self._connection.begin():
            note_taken(self._connection, self._account, numbers)
        record.drop(set(numbers))
        self._failing.clear()

    def _end(self, record: RecordChanges, numbers: Sequence[int], decision: Decision, reason: str) -> None:
        with self._connection.begin():
            end_unmade(self._connection, self._account, self._run_id, numbers, decision, reason)
        record.drop(set(numbers))

    def _note_not_sent(self, numbers: Sequence[int]) -> None:
        with self._connection.begin():
            note_sending(self._connection, self._account, numbers, None)
