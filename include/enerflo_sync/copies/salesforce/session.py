"""One request to Salesforce at a time: the token, the daily limit, and the meaning of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import requests

from enerflo_sync.clock import Clock
from enerflo_sync.copies.salesforce.login import SalesforceLogin, base_address
from enerflo_sync.copies.salesforce.quiet_log import log_no_keys
from enerflo_sync.enerflo.transport import TRANSPORT_ERRORS, explain, read_environment_once
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError, RetriableError

WHERE = "Salesforce"
# Seconds to wait for the connection, and for the beginning of an answer.
_TIMEOUT = (10.0, 120.0)
# Seconds between attempts of a request that changes nothing.
_WAITS = (1.0, 4.0, 10.0)
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,80}")
_LIMIT = "REQUEST_LIMIT_EXCEEDED"
# The whole company can be read-only for a while, as during maintenance or a move of its site.
_CLOSED = frozenset({"INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "API_CURRENTLY_DISABLED"})
# These codes say nothing about the record in the request.
_OF_COMPANY = frozenset({"API_DISABLED_FOR_ORG", "UNSUPPORTED_API_VERSION", "URL_NOT_RESET", "ORG_LOCKED"})

_encode = msgspec.json.Encoder(decimal_format="number").encode
# A number keeps Salesforce's digits, without conversion to a double.
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class NotTakenError(RetriableError):
    """Salesforce accepts no request for a while; this one was not executed."""


class DailyLimitError(NotTakenError):
    """The day's requests are used up, or only the share for others is left."""


class NoAnswerError(RetriableError):
    """A request has no answer: it was executed or not."""


class FailedError(NoAnswerError):
    """Salesforce failed at this request and says so by a code; other requests may succeed."""


@dataclass(frozen=True)
class Refusal:
    """One reason of a refusal: Salesforce's code, and the fields in it. Its message is never kept."""

    code: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code}: {', '.join(self.fields)}" if self.fields else self.code


@dataclass(frozen=True)
class Answer:
    """An answer of Salesforce.

    :param at: Salesforce's time of the answer, in whole seconds; None if the answer has none.
    """

    status: int
    body: Any
    refusals: Sequence[Refusal]
    at: datetime | None

    @property
    def codes(self) -> set[str]:
        """Return the codes of all reasons of a refusal."""
        return {one.code for one in self.refusals}


class SalesforceSession:
    """Sends requests with the account's token, and stops before the day's requests are used up.

    Logs in with the first request. Not thread-safe.
    """

    def __init__(self, login: SalesforceLogin, session: requests.Session, clock: Clock) -> None:
        self._login = login
        self._base = login.base
        self._session = session
        self._clock = clock
        self._token = login.token
        self._usage: tuple[int, int] | None = None
        self.requests = 0
        read_environment_once(session, self._base)
        log_no_keys()

    @property
    def usage(self) -> tuple[int, int] | None:
        """Return how many of the day's requests are used, and how many there are; None: not known yet."""
        return self._usage

    def read(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return the answer to a request that changes nothing; retries if no answer comes.

        :raises RetriableError: Salesforce is away.
        """
        for wait in _WAITS:
            try:
                return self.send(method, path, body)
            except NoAnswerError:
                self._clock.sleep(wait)
        return self.send(method, path, body)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to one request, below 500.

        :param path: what follows ``/services/data/VERSION``.
        :raises NoAnswerError: the outcome of the request is unknown.
        :raises NotTakenError: the request was not executed.
        :raises ConfigurationError: the request was not executed: login, address or TLS is wrong, or the
            server is not Salesforce.
        """
        self._require_requests_left()
        if not self._token:
            self._log_in()
        answer = self._once(method, path, body, headers)
        if answer.status == 401 and self._login.renews:
            self._log_in()
            answer = self._once(method, path, body, headers)
        if answer.status == 401:
            raise ConfigurationError(
                f"Salesforce does not accept the token ({_codes(answer) or answer.status}).",
                where=self._login.where,
                next_step="Give client_id and client_secret, which renew it, or a new token.",
            )
        if _LIMIT in answer.codes:
            raise self._limit(
                "Salesforce refuses requests: those of the day are used up, or too many run at once"
            )
        if answer.codes & _CLOSED:
            raise NotTakenError(
                f"Salesforce takes no changes at the moment ({_codes(answer)}).",
                where=WHERE,
                next_step="Run it again later.",
            )
        if answer.status >= 500 or answer.status == 429:
            raise _no_answer(answer)
        if answer.status >= 400 and answer.status != 412 and not answer.codes - _OF_COMPANY:
            raise ConfigurationError(
                f"what answers to Salesforce's address says {answer.status}"
                f" ({_codes(answer) or 'without a reason of Salesforce'}), which is about no record.",
                where=self._login.where,
                next_step="Check the address, api_version, and proxies between this machine and Salesforce.",
            )
        return answer

    def _require_requests_left(self) -> None:
        if self._usage is None:
            return
        used, total = self._usage
        if total - used <= total * self._login.keep_free_percent / 100:
            raise self._limit(
                f"{self._login.keep_free_percent:g} % of the day's requests to Salesforce are kept for others"
                " (keep_free_percent), and no more are left"
            )

    def _limit(self, why: str) -> DailyLimitError:
        counted = f" ({self._usage[0]:,} of {self._usage[1]:,} used)" if self._usage is not None else ""
        return DailyLimitError(f"{why}{counted}.", where=WHERE, next_step="Run it again when some are free.")

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Answer:
        url = f"{self._base}/services/data/{self._login.api_version}{path}"
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data, sent["Content-Type"] = _encode(body), "application/json"
        answer = self._exchange(method, url, data, sent)
        self.requests += 1
        found = _USAGE.search(answer.headers.get("Sforce-Limit-Info", ""))
        if found:
            self._usage = int(found[1]), int(found[2])
        if 300 < answer.status_code < 400:
            raise ConfigurationError(
                f"Salesforce answers {answer.status_code}, which sends us to another address.",
                where=self._login.where,
                next_step="Write the company's own address (Setup, My Domain).",
            )
        content = _decoded(answer.content)
        return Answer(answer.status_code, content, _refusals(content, answer), _date(answer))

    def _exchange(
        self, method: str, url: str, data: bytes | str | None, headers: Mapping[str, str]
    ) -> requests.Response:
        began = self._clock.monotonic()
        try:
            # A callable as auth keeps requests from searching .netrc for a password.
            return self._session.request(
                method,
                url,
                data=data,
                headers=dict(headers),
                timeout=_TIMEOUT,
                allow_redirects=False,
                auth=lambda request: request,
            )
        except TRANSPORT_ERRORS as error:
            host = urlsplit(url).netloc
            line = explain(error, host, self._clock.monotonic() - began)
            if isinstance(line, EnerfloSyncError):
                raise ConfigurationError(
                    line.what, where=self._login.where, next_step=line.next_step
                ) from None
            raise NoAnswerError(
                f"{line.what}.", where=WHERE, next_step="Check the address, or run it again later."
            ) from None

    def _log_in(self) -> None:
        """Get a token for the app's own user (OAuth client credentials)."""
        login = self._login
        if not login.renews:
            raise ConfigurationError(
                "there is no login: neither client_id with client_secret, nor a token.",
                where=login.where,
                next_step="Make an external client app with the client credentials flow, and give both.",
            )
        secret = {"client_id": login.client_id, "client_secret": login.client_secret}
        form = urlencode({"grant_type": "client_credentials", **secret})
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = self._exchange("POST", f"{self._base}/services/oauth2/token", form, kind)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise NoAnswerError(
                f"Salesforce answers {answer.status_code} to the login.", where=WHERE, next_step="Try later."
            )
        content = _decoded(answer.content)
        said = content if isinstance(content, dict) else {}
        token = said.get("access_token")
        if answer.status_code != 200 or not isinstance(token, str) or not token.isascii():
            why = str(said.get("error") or answer.status_code)
            shown = why if re.fullmatch(r"\w{2,40}", why) else str(answer.status_code)
            raise ConfigurationError(
                f"Salesforce refuses the login ({shown}).",
                where=login.where,
                next_step="Check url, client_id and client_secret, and that the app has the client"
                " credentials flow with a user that it runs as.",
            )
        self._token = token
        if isinstance(said.get("instance_url"), str):
            self._base = base_address(said["instance_url"], login.where)


def _decoded(content: bytes) -> Any:
    try:
        return _decode(content) if content else None
    except msgspec.DecodeError:
        return None


def _refusals(content: Any, answer: requests.Response) -> list[Refusal]:
    """Return the reasons of a refusal, as a list of ``errorCode`` and ``fields``, without any message."""
    if answer.status_code < 400 or not isinstance(content, list):
        return []
    found = []
    for one in content:
        if isinstance(one, dict) and isinstance(code := one.get("errorCode"), str) and _CODE.fullmatch(code):
            fields = one.get("fields") or ()
            names = [name for name in fields if isinstance(name, str) and re.fullmatch(r"\w{1,80}", name)]
            found.append(Refusal(code, tuple(names)))
    return found


def _date(answer: requests.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError):
        return None


def _no_answer(answer: Answer) -> NoAnswerError:
    if answer.status == 500 and answer.codes:
        return FailedError(
            f"Salesforce fails at a request ({_codes(answer)}).",
            where=WHERE,
            next_step="Look at the record there, or run it again later.",
        )
    return NoAnswerError(f"Salesforce answers {answer.status}.", where=WHERE, next_step="Run it again later.")


def _codes(answer: Answer) -> str:
    return ", ".join(sorted(answer.codes))
