"""One list of Enerflo: where it is, how its rows are wrapped, and whether it can be asked for what is new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.envelopes import Envelope, Listing
from enerflo_sync.enerflo.pages import PageWalk


@dataclass(frozen=True)
class VendorList:
    """A list endpoint (REFERENCE.md §3).

    :param per_page: rows that are asked for unless the caller says otherwise.
    :param created_after: the parameter that leaves out what was made before a moment; None where there is
        none, and each look at the list is one at all of it.
    :param oldest_first: whether it has to be asked for the oldest first (``orderDir=asc``).
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
        """Return the walk over all rows that the key sees, undecoded.

        :param since: aware; only what was made after it, with whole seconds, rounded down. An edit or a
            deletion of an older record is not seen then.
        :param start: rows to pass over.
        :raises NotFoundError: while walking: there is no such list for this company.
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
        """Return one page of the list as it stands now; parameters and errors as :meth:`walk` has them.

        :param number: the page, from 1, at ``size`` rows a page.
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
