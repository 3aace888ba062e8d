"""Read named installs one by one with their notes and change orders, as a webhook's hydration does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import psycopg
import sqlalchemy as sa

from enerflo_sync.backfill.chunks import Chunk
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.store import Backfill, Progress
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import BadRecordError, ContractDriftError, FatalError, NotFoundError
from enerflo_sync.inbox.answers import Answer
from enerflo_sync.inbox.deletions import NOT_BELIEVED, Deletions
from enerflo_sync.inbox.reads import Reads
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.installs import BY_DEAL, BY_ID, INSTALLS
from enerflo_sync.resources.notes import NOTES, NOTES_OF
from enerflo_sync.resources.registry import ALL
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.refused import refuses_a_row

# Reads per install number: resource name and the read's subject. The notes come with the install itself.
OF_INSTALL = {
    one.name: read.subject
    for one in ALL
    for read in one.reads
    if read.owner == INSTALLS.name and one.backfilled_by
}
# Name in reports for a requested install that Enerflo does not have.
MISSING = "missing"
# Name in reports for a requested install that neither Enerflo nor the mirror knows: its id is mistyped.
UNKNOWN = "unknown"
_NOT_TOLD = "Enerflo does not list them by install: the poll reads their whole list"


def needs_of(backfill: Backfill) -> list[Need]:
    """Return the reads of the named installs, those by deal first."""
    request = backfill.request
    return [
        *(Need(BY_DEAL, deal) for deal in request.deal_ids),
        *(Need(BY_ID, str(install_id)) for install_id in request.install_ids),
    ]


class NamedInstalls:
    """Reads the named installs of one chunk, each in one transaction with the progress.

    A 404 counts as missing. For an install in the mirror it is also evidence of deletion, unless the shrink
    guard refuses that many.
    """

    def __init__(self, context: Context, connection: sa.Connection, backfill: Backfill) -> None:
        options = context.options
        self._context = context
        self._connection = connection
        self._backfill = backfill
        company = context.company
        self._reads = Reads(context.client, connection, context.account, options.component_keys, company)
        self._deletions = Deletions(
            context.client, connection, context.account, context.clock, options.shrink_guard, company
        )
        self._gone: list[tuple[tuple[Resource, int], datetime]] = []

    def read(self, chunk: Chunk, progress: Progress, save: Callable[[], None]) -> None:
        """Read the rest of the chunk.

        :param save: stores the progress, in the transaction that stores the records.
        :raises AuthenticationError: the key is no longer accepted.
        :raises RetriableError: Enerflo does not answer; a resume continues with the same install.
        """
        needs = needs_of(self._backfill)
        end = chunk.first_row + (chunk.rows or 0)
        for place in range(progress.reached_row, end):
            observation = self._context.observation(self._backfill.backfill_id, self._context.clock.now())
            answers = self._answers(needs[place], progress)
            with self._connection.begin():
                if answers is None:
                    self._not_there(needs[place], observation, progress)
                for resource, batch in self._bring_in(answers or (), observation):
                    progress.count(resource.name, batch.tally, len(batch.new))
                progress.reached_row, progress.rows = place + 1, progress.rows + 1
                save()
            self._context.progress(chunk.label, place + 1 - chunk.first_row, chunk.rows)
        self._tombstone(progress, save)

    def _answers(self, need: Need, progress: Progress) -> Sequence[Answer] | None:
        """Return Enerflo's answers for one install; None if it does not exist, empty if access is refused."""
        parts = self._backfill.request.parts
        try:
            answer = self._reads.read(need, ())
            if NOTES.name not in parts:
                own = [(resource, rows) for resource, rows in answer.records if resource is not NOTES]
                answer = Answer(own, install_id=answer.install_id)
            elif not any(told.subject == NOTES_OF for told in answer.tells):
                progress.incomplete(NOTES.name, _NOT_TOLD)
            key = need.key if answer.install_id is None else str(answer.install_id)
            answers = [answer]
            for name, subject in OF_INSTALL.items():
                if name in parts and name != NOTES.name:
                    answers.append(self._reads.read(Need(subject, key), ()))
                    if not answers[-1].is_whole:
                        progress.incomplete(name, _NOT_TOLD)
            return answers
        except AuthenticationError:
            raise
        except NotFoundError:
            self._deletions.is_believed()
            return None
        except (BadRecordError, ContractDriftError, FatalError) as error:
            progress.incomplete("installs", f"{need}: {error}")
            return []

    def _bring_in(self, answers: Sequence[Answer], observation: Observation) -> list[tuple[Resource, Batch]]:
        """Load answers, in the caller's transaction."""
        found: list[tuple[Resource, Batch]] = []
        for answer in answers:
            try:
                with self._connection.begin_nested():
                    found += self._reads.bring_in(answer, observation, {})
            except psycopg.Error as error:
                if not refuses_a_row(error):
                    raise
                # The warehouse refuses one of the records: quarantine only that record.
                found += self._reads.bring_in(answer, observation, {}, one_by_one=True)
        return found

    def _not_there(self, need: Need, observation: Observation, progress: Progress) -> None:
        missing = Tally()
        missing.because(MISSING, "installs that Enerflo does not know")
        known = self._reads.known_record(need)
        if known is not None:
            self._gone.append((known, observation.observed_at))
        else:
            missing.because(UNKNOWN, need.key)
        progress.count("installs", missing)

    def _tombstone(self, progress: Progress, save: Callable[[], None]) -> None:
        """Tombstone known installs that answered 404: all of them, or none if they are too many."""
        if not self._gone:
            return
        found = Tally()
        with self._connection.begin():
            if self._deletions.is_believed(len(self._gone)):
                gone = sum(
                    self._deletions.tombstone(*known, observed_at) for known, observed_at in self._gone
                )
                found.because("notice", "deleted", gone) if gone else None
            else:
                found.because("incomplete", f"installs: {NOT_BELIEVED}", len(self._gone))
            progress.count("installs", found)
            save()
