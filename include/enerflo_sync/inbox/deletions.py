"""When a direct read's 404 counts as deletion: the shrink guard for single reads."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.statuses import read_status_rows
from enerflo_sync.errors import ConfigurationError, ContractDriftError, FatalError, NotFoundError
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.sweep import GUARDED, most_missing, tombstone
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.schema import installs

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

NOT_BELIEVED = "more records are gone than is believed at once"


class Deletions:
    """Marks records of one account as deleted on the evidence of a direct read.

    If more 404s come than the guard permits, none of them counts: such a burst indicates a fault of the key
    or of Enerflo rather than deletions.

    :param guard: maximum share of the known installs that may be deleted within a day.
    :param company: verifies first that the key belongs to the account's company.
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
        """Return whether ``count`` 404s may count: Enerflo answers us, and not too much is gone at once.

        :raises ConfigurationError: even the statuses are missing, so the address is wrong; or the key belongs
            to another company.
        :raises RetriableError: Enerflo does not answer at the moment.
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
            # A refusal or an unknown form still shows that Enerflo answers.
            log.info("statuses_not_readable error=%s", type(error).__name__)

    def _live_and_gone(self, since: datetime) -> tuple[int, int]:
        gone = installs.c.deleted_at
        query = sa.select(
            sa.func.count().filter(gone.is_(None)), sa.func.count().filter(gone >= since)
        ).where(installs.c.account == self._account)
        live, deleted = self._connection.execute(query).one()
        return live, deleted

    def tombstone(self, resource: Resource, record_id: int, observed_at: datetime) -> int:
        """Tombstone a record in the caller's transaction, and return how many were tombstoned now.

        :param observed_at: when the read that answered 404 was requested.
        """
        deleted = tombstone(self._connection, resource, self._account, record_id, observed_at)
        self._deleted += deleted
        return deleted
