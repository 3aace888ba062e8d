"""Requests of people's own code to Enerflo, by a plain session: with the account's key and request budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.address import ApiKeyHeader
from enerflo_sync.enerflo.answers import limit_news
from enerflo_sync.enerflo.budget import RequestBudget
from enerflo_sync.enerflo.calls import Timeout

_TIMEOUT = Timeout()


class KeyedAdapter(HTTPAdapter):
    """Adds the key to each request, after a slot of the request budget was free for it.

    Mount it at the account's own address with a slash at its end, so that no other host gets the key: a
    redirect to another host is followed without it. Nothing is sent a second time here; a 429 counts for all
    processes with this key.

    :param budget: opened by the first request.
    :param on_close: called when the session is closed.
    """

    def __init__(
        self,
        api_key: str,
        budget: Callable[[], RequestBudget],
        clock: Clock,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._key, self._open, self._clock, self._on_close = ApiKeyHeader(api_key), budget, clock, on_close
        self._budget: RequestBudget | None = None

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send the request once, with the client's own time-outs where the caller gives none.

        :raises RetriableError: the budget would have to be waited for longer than it may block.
        """
        if self._budget is None:
            self._budget = self._open()
        self._budget.acquire()
        if not args and options.get("timeout") is None:
            options["timeout"] = _TIMEOUT.connect, _TIMEOUT.read
        # Of a copy: a request that is sent on to another host after a redirect must not have the key.
        answer = super().send(self._key(request.copy()), *args, **options)
        answer.request = request
        news = limit_news(answer.headers, self._clock.now())
        throttled = answer.status_code == requests.codes.too_many_requests
        self._budget.observe(news.limit, news.remaining, news.reset_at, news.retry_after, throttled)
        return answer

    def close(self) -> None:
        """Release the connections, the budget's too."""
        super().close()
        self._on_close()
