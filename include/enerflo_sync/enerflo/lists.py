"""A list of Enerflo: its path, its envelope, and whether it can be filtered by creation time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from enerflo_sync.enerflo.envelopes import Envelope, Listing
from enerflo_sync.enerflo.pages import PageWalk

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


@dataclass(frozen=True)
class VendorList:
    """A list endpoint (REFERENCE.md §3).

    :param per_page: rows per page unless the caller overrides it.
    :param created_after: parameter that filters by creation time; None if the endpoint has none, so that each
        read covers the whole list.
    :param oldest_first: whether the request must ask for the oldest rows first (``orderDir=asc``).
    """

    path: str
    envelope: Envelope
    per_page: int = 500
    created_after: str | None = None
    oldest_first: bool = False

    def walk(
        self,
        client: EnerfloClient,
        since: datetime | None = None,
        *,
        per_page: int | None = None,
        floor: int = 25,
        slow_seconds: float = 20.0,
        start: int = 0,
    ) -> PageWalk:
        """Return a walk over all rows that the key may see, undecoded.

        :param since: aware; keeps only records created after it, rounded down to whole seconds. An edit or a
            deletion of an older record is then not seen.
        :param start: number of rows to skip.
        :raises NotFoundError: while walking: this company has no such list.
        """
        return PageWalk(
            client,
            self.path,
            self.envelope,
            params=self._params(since),
            per_page=per_page or self.per_page,
            floor=floor,
            slow_seconds=slow_seconds,
            start=start,
        )

    def page(self, client: EnerfloClient, number: int, size: int, since: datetime | None = None) -> Listing:
        """Return one page of the list as it is now; parameters and errors as for :meth:`walk`.

        :param number: page number, from 1, at ``size`` rows a page.
        """
        params = {**self._params(since), **self.envelope.page_params(number, size)}
        return client.read(self.path, params, self.envelope.decode).value

    def _params(self, since: datetime | None) -> dict[str, str | int]:
        params: dict[str, str | int] = {"orderDir": "asc"} if self.oldest_first else {}
        if since is not None:
            if since.tzinfo is None:
                raise ValueError(f"{self.created_after} must be aware: the zone of a naive time is a guess.")
            if self.created_after is None:
                raise ValueError(f"{self.path} cannot be asked for what is new.")
            params[self.created_after] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return params
