"""When a 404 is believed, and what it then does: the guard that a sweep has, for single reads."""

from __future__ import annotations

import logging
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.statuses import read_status_rows
from enerflo_sync.errors import ConfigurationError, ContractDriftError, FatalError, NotFoundError
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.sweep import GUARDED, most_missing, tombstone
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.schema import installs

log = logging.getLogger(__name__)

NOT_BELIEVED = "more records are gone than is believed at once"


class Deletions:
    """Marks records of one account deleted on the evidence of a direct read.

    Where more 404s come than are believed together, none of them counts: a burst says more about the key, or
    about Enerflo, than about the records.

    :param guard: share of the known installs that may be deleted within a day; more are not believed.
    :param company: shows first whether the key is of the account's company.
    """

    def __init__(
        self,
        client: EnerfloClient,
        connection: sa.Connection,
        account: str,
        clock: Clock,
        guard: float,
        company: CompanyGuard | None = None,
    ) -> None:
        self._company = company or CompanyGuard(client, connection.engine, account)
        self._client = client
        self._connection = connection
        self._account = account
        self._clock = clock
        self._guard = guard
        self._deleted = 0
        self._most: int | None = None

    def is_believed(self, count: int = 1) -> bool:
        """Return whether ``count`` 404s may count: Enerflo answers here, for us, and not all is gone at once.

        :raises ConfigurationError: not even the statuses are there: the address is wrong; or the key is of
            another company.
        :raises RetriableError: Enerflo does not answer just now.
        """
        if self._most is None:
            self._require_enerflo()
            self._company.ensure()
            with self._connection.begin():
                live, self._deleted = self._live_and_gone(self._clock.now() - GUARDED)
            self._most = most_missing(live + self._deleted, self._guard)
        return self._deleted + count <= self._most

    def _require_enerflo(self) -> None:
        try:
            read_status_rows(self._client)
        except NotFoundError:
            raise ConfigurationError(
                "Enerflo's address answers 404 to everything.",
                where="accounts.base_url, or the host of the Enerflo connection",
                next_step="Correct it: https://enerflo.io. Nothing was deleted, and nothing is lost.",
            ) from None
        except AuthenticationError:
            raise
        except (FatalError, ContractDriftError) as error:
            # Refused, or answered in another form: by Enerflo, in any case.
            log.info("statuses_not_readable error=%s", type(error).__name__)

    def _live_and_gone(self, since: datetime) -> tuple[int, int]:
        gone = installs.c.deleted_at
        query = sa.select(
            sa.func.count().filter(gone.is_(None)), sa.func.count().filter(gone >= since)
        ).where(installs.c.account == self._account)
        live, deleted = self._connection.execute(query).one()
        return live, deleted

    def tombstone(self, resource: Resource, record_id: int, observed_at: datetime) -> int:
        """Mark a record deleted in the caller's transaction, and return how many were marked now.

        :param observed_at: when the read was asked for that answered 404.
        """
        deleted = tombstone(self._connection, resource, self._account, record_id, observed_at)
        self._deleted += deleted
        return deleted
