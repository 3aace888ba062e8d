"""The seam to the request budget of one API key (300 requests a minute, REFERENCE.md §2)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class RequestBudget(Protocol):
    """The client calls ``acquire`` before each HTTP attempt and ``observe`` after it.

    ``enerflo_sync.warehouse.request_budget`` keeps one budget per key for all processes.
    """

    def acquire(self) -> None:
        """Return when one request may be sent; log a wait once, with its reason and seconds.

        :raises RetriableError: the wait would be longer than the budget may block.
        """
        ...

    def observe(
        self,
        limit: int | None,
        remaining: int | None,
        reset_at: datetime | None,
        retry_after: float | None,
        throttled: bool,
    ) -> None:
        """Record what an answer says about the limit; it belongs to this thread's last acquired request.

        :param limit: ``x-ratelimit-limit``, requests per window.
        :param remaining: ``x-ratelimit-remaining``, requests left in the vendor's window.
        :param reset_at: ``x-ratelimit-reset`` on this side's clock, aware UTC.
        :param retry_after: ``retry-after`` in seconds from now.
        :param throttled: the answer was a 429, so no process with this key may send until the wait ends.
        """
        ...


class UnlimitedBudget:
    """A budget that never waits: for tests and for a sandbox without a limit."""

    def acquire(self) -> None:
        """Return at once."""

    def observe(
        self,
        limit: int | None,
        remaining: int | None,
        reset_at: datetime | None,
        retry_after: float | None,
        throttled: bool,
    ) -> None:
        """Ignore what the answer said."""
