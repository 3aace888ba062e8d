"""The one client of the vendor's REST API: key, request budget, retries and errors.

Every request goes through :meth:`EnerfloClient._call`, the only place that retries. Guarantees:

* The key is sent as the ``api-key`` header (REFERENCE.md §1) to the configured host only: redirects are not
  followed, and plain http is allowed only to this machine, unless configured.
* Each attempt acquires a slot of the request budget first. Afterwards the budget gets what the answer says
  about the limit.
* 429, 5xx, dropped connections, time-outs and truncated bodies are retried within the bounds of the
  :class:`RetryPolicy`; 401, 403, 404, 422 and other refusals are not.
* A write is retried only if it was surely not applied: on a 429, or when no connection was established.
* No log line (urllib3's included) and no error contains a body, the key, or the query of an address.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import msgspec
import requests
import urllib3

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.address import ApiKeyHeader, base_address
from enerflo_sync.enerflo.answers import (
    LimitNews,
    UnreadableBodyError,
    checked_body,
    clock_ahead,
    decode_answer,
    limit_news,
    written_body,
)
from enerflo_sync.enerflo.attempts import FailedAttempt, Request, Seen, give_up
from enerflo_sync.enerflo.budget import RequestBudget
from enerflo_sync.enerflo.calls import Answer, Call, Timeout
from enerflo_sync.enerflo.failures import AnswerTooHeavyError, OutcomeUnknownError
from enerflo_sync.enerflo.ids import endpoint_of
from enerflo_sync.enerflo.quiet_log import log_no_queries
from enerflo_sync.enerflo.refusals import is_heavy, is_transient, refusal
from enerflo_sync.enerflo.retry import Fault, RetryPolicy
from enerflo_sync.enerflo.transport import TRANSPORT_ERRORS, explain, read_environment_once
from enerflo_sync.errors import (
    ContractDriftError,
    EnerfloSyncError,
    NotFoundError,
)

__all__ = ["Answer", "Call", "EnerfloClient", "RetryPolicy", "Timeout"]

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_RETRY = RetryPolicy()
DEFAULT_TIMEOUT = Timeout()
_CHECK_RETRY = RetryPolicy(attempts=2, total_seconds=30.0)
_CHECK_READ_SECONDS = 15.0
# A page of 500 installs has some megabytes. The vendor's own limit is 512 MB (§3), which would take gigabytes
# to decode. Above this cap, a list is requested again with fewer rows; any other answer is an error.
MAX_BODY_BYTES = 128 * 1024 * 1024
_PIECE = 1 << 18
_DRAIN = 1 << 16
_JSON_BACK = {"accept": "application/json"}
_JSON_BOTH_WAYS = {"accept": "application/json", "content-type": "application/json"}


class EnerfloClient:
    """Reads and writes one Enerflo account.

    Holds no state between calls, so one thread may read ahead while another uses the client.

    :param session: connection pool, proxies and TLS settings; turn its own retries off. The environment's
        proxies and certificates are read once, here.
    :param base_url: ``https://enerflo.io``, or a sandbox.
    :param api_key: a company's REST key; never shown.
    :param budget: asked before each attempt.
    :param rng: source of the jitter in waits.
    :param on_call: called after each attempt, on the thread that made it.
    :param max_body_bytes: a larger answer is abandoned before it is decoded.
    :raises ConfigurationError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        api_key: str,
        *,
        budget: RequestBudget,
        clock: Clock,
        rng: random.Random,
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: Timeout = DEFAULT_TIMEOUT,
        on_call: Callable[[Call], None] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.clock = clock
        self._session = session
        self._base, self._host = base_address(base_url)
        read_environment_once(session, self._base)
        self._key = ApiKeyHeader(api_key)
        self._budget = budget
        self._rng = rng
        self._retry = retry
        self._timeout = timeout
        self._on_call = on_call
        self._max_body_bytes = max_body_bytes
        # By how much Enerflo's clock is ahead of ``clock``, as its last answer says; None: it did not say.
        self.ahead: timedelta | None = None
        log_no_queries()

    def __repr__(self) -> str:
        return f"EnerfloClient({self._base})"

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> bytes:
        """Return the body of one record: a complete JSON object or array.

        :param path: starts with ``/api/``; ids were checked by :mod:`enerflo_sync.enerflo.ids`.
        :raises AuthenticationError: the key is wrong (401).
        :raises NotFoundError: there is no such record (404).
        :raises VendorRefusedError: any other refusal, ``success: false`` included.
        :raises RetriableError: the last permitted attempt failed; run the job again later.
        :raises BadRecordError: the answer is nested too deeply to decode.
        :raises ContractDriftError: the answer is not JSON.
        :raises ConfigurationError: the address or its TLS certificate is wrong.
        """
        return self._call(
            Request("GET", path, params, None), partial(decode_answer, decode=checked_body)
        ).value

    def read(
        self,
        path: str,
        params: Mapping[str, str | int] | None,
        decode: Callable[[bytes], T],
        *,
        shrinkable: bool = False,
    ) -> Answer[T]:
        """Return the answer, parsed once by ``decode``; raises as :meth:`get`.

        :param decode: takes one JSON object or array; may raise msgspec's errors.
        :param shrinkable: the caller can request fewer rows. A 500, 502, 504, time-out or oversized answer is
            then raised at once instead of retried.
        :raises AnswerTooHeavyError: only if ``shrinkable``.
        """
        return self._call(
            Request("GET", path, params, None), partial(decode_answer, decode=decode), shrinkable
        )

    def send(self, method: str, path: str, body: object) -> bytes:
        """Write ``body`` as JSON once and return the answer's body (``b""`` if empty).

        Retried only if the write was surely not applied: on a 429, or when no connection was established.

        :raises OutcomeUnknownError: the write may have arrived without a usable answer: read the record back.
            Otherwise raises as :meth:`get`.
        """
        return self._call(Request(method, path, None, msgspec.json.encode(body)), written_body).value

    def check(self) -> None:
        """Return if the key is accepted. Gives up sooner than a read, because a person waits.

        Requests ``/api/v3/authcheck`` (seen in one client only, REFERENCE.md §1). If that path does not exist
        or does not answer JSON, reads one install instead.

        :raises AuthenticationError: the key is wrong. Otherwise raises as :meth:`get`.
        """
        quick = copy.copy(self)
        quick._retry = _CHECK_RETRY
        quick._timeout = replace(self._timeout, read=min(self._timeout.read, _CHECK_READ_SECONDS))
        try:
            quick._call(Request("GET", "/api/v3/authcheck", None, None), written_body)
        except (NotFoundError, ContractDriftError):
            quick.get("/api/v3/installs", {"page": 1, "per_page": 1})
        self.ahead = quick.ahead

    def _call(self, request: Request, read_body: Callable[[bytes], T], shrinkable: bool = False) -> Answer[T]:
        tried, spent = 0, 0.0
        while True:
            self._budget.acquire()
            began = self.clock.monotonic()
            outcome = self._attempt(request, read_body)
            tried += 1
            if isinstance(outcome, Answer):
                return Answer(outcome.value, outcome.requested_at, outcome.seconds, tried)
            spent += self.clock.monotonic() - began
            if request.is_write and outcome.reached:
                raise OutcomeUnknownError(
                    f"{outcome.what}; the write may or may not have been applied.",
                    where=request.where,
                    next_step="Read the record back before sending it again.",
                    retry_after=outcome.retry_after,
                )
            if shrinkable and outcome.heavy:
                raise AnswerTooHeavyError(
                    f"{outcome.what}.", where=request.where, next_step="Ask for fewer rows."
                )
            wait = self._retry.wait(outcome.fault, tried, spent, outcome.retry_after, self._rng)
            if wait is None:
                give_up(request, outcome, tried, spent)
            endpoint = endpoint_of(request.path)
            log.warning(
                "enerflo.retry endpoint=%s fault=%s tried=%d wait=%.1f", endpoint, outcome.fault, tried, wait
            )
            self.clock.sleep(wait)
            spent += wait

    def _attempt(self, request: Request, read_body: Callable[[bytes], T]) -> Answer[T] | FailedAttempt:
        """Send once; return a failure that may be retried, raise any other."""
        seen = Seen()
        requested_at, began = self.clock.now(), self.clock.monotonic()
        try:
            value = self._exchange(request, read_body, seen, began)
            seen.failed = isinstance(value, FailedAttempt)
            return (
                value
                if isinstance(value, FailedAttempt)
                else Answer(value, requested_at, self._since(began), 1)
            )
        except UnreadableBodyError as error:
            what = f"{self._host} answered {seen.status} with {error.what}"
            return FailedAttempt(
                error.fault, True, what, "Check that the base URL is Enerflo's (https://enerflo.io)."
            )
        except EnerfloSyncError as error:
            error.where = error.where or request.where
            raise
        except TRANSPORT_ERRORS as error:
            line = explain(error, self._host, self._since(began))
            if isinstance(line, EnerfloSyncError):
                line.where = request.where
                raise line from None
            return FailedAttempt(
                line.fault, line.reached, line.what, line.next_step, None, line.fault is Fault.TIMED_OUT
            )
        finally:
            if self._on_call is not None:
                endpoint, throttled = endpoint_of(request.path), seen.status == 429
                self._on_call(
                    Call(endpoint, seen.status, self._since(began), seen.bytes, throttled, seen.failed)
                )

    def _exchange(
        self, request: Request, read_body: Callable[[bytes], T], seen: Seen, began: float
    ) -> T | FailedAttempt:
        with self._session.request(
            request.method,
            self._base + request.path,
            params=dict(request.params) if request.params else None,
            data=request.body,
            headers=_JSON_BOTH_WAYS if request.is_write else _JSON_BACK,
            auth=self._key,
            stream=True,
            timeout=(self._timeout.connect, self._timeout.read),
            allow_redirects=False,
        ) as response:
            seen.status = response.status_code
            now = self.clock.now()
            news, self.ahead = limit_news(response.headers, now), clock_ahead(response.headers, now)
            self._observe(request, news, seen.status == 429)
            if not 200 <= seen.status < 300:
                location = response.headers.get("location")
                seen.bytes = self._drain(response, began)
                return self._unsuccessful(request, seen.status, news, location)
            body = self._body(response, self._max_body_bytes, began)
        if body is None:
            what = f"the answer is larger than {self._max_body_bytes} bytes"
            do = "Ask for fewer rows (poll.per_page in sync.yaml); the bound itself is fixed."
            return FailedAttempt(Fault.TOO_LARGE, True, what, do, heavy=True)
        seen.bytes = len(body)
        return read_body(body)

    def _observe(self, request: Request, news: LimitNews, throttled: bool) -> None:
        """Give the budget what an answer says about the limit."""
        try:
            self._budget.observe(news.limit, news.remaining, news.reset_at, news.retry_after, throttled)
        except EnerfloSyncError as error:
            if not request.is_write:
                raise
            # The write was answered. Raising here would wrongly report that it was not sent.
            log.warning("enerflo.limit_news_lost method=%s error=%s", request.method, type(error).__name__)

    def _unsuccessful(
        self, request: Request, status: int, news: LimitNews, location: str | None
    ) -> FailedAttempt:
        if not is_transient(status):
            raise refusal(status, request.where, location)
        if status != 429:
            what, heavy = f"{self._host} answered {status}", is_heavy(status, news.retry_after)
            return FailedAttempt(
                Fault.SERVER_ERROR, True, what, "Run it again later.", news.retry_after, heavy
            )
        retry_after = news.retry_after
        if retry_after is None and news.reset_at is not None:
            retry_after = max(0.0, (news.reset_at - self.clock.now()).total_seconds())
        what = f"{self._host} answered 429: the key's request limit is used up"
        return FailedAttempt(
            Fault.THROTTLED, False, what, "Run it again later, or send less with this key.", retry_after
        )

    def _body(self, response: requests.Response, cap: int, began: float) -> bytes | None:
        """Return the decoded body, or None if it exceeds ``cap`` bytes."""
        raw = response.raw
        if not isinstance(raw, urllib3.HTTPResponse):
            return response.content if len(response.content) <= cap else None
        # Read pieces as they arrive, not requests' 10 KB: a page has megabytes, and decoding copies them
        # again.
        encoded = "content-encoding" in response.headers
        pieces: list[bytes] = []
        size = 0
        while piece := raw.read1(_PIECE, decode_content=encoded):
            pieces.append(piece)
            size += len(piece)
            if size > cap:
                return None
            if self._since(began) > self._timeout.total:
                raise TimeoutError
        return b"".join(pieces)

    def _drain(self, response: requests.Response, began: float) -> int:
        """Read the rest of a failed answer, so that its connection can be reused; return its size."""
        try:
            return len(self._body(response, _DRAIN, began) or b"")
        except TRANSPORT_ERRORS:
            return 0

    def _since(self, began: float) -> float:
        return self.clock.monotonic() - began
