"""What goes wrong on the way: by rate and seed, or exactly where a script says."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from enerflo_sandbox.exchange import Cut, Request, Response, html_page, json_answer, refusal


class FaultKind(StrEnum):
    """The faults that a client must survive."""

    FORBIDDEN = "403"
    NOT_FOUND = "404"
    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    DROPPED = "dropped"
    SLOW = "slow"
    SUCCESS_FALSE = "success_false"
    BARE_STRING = "bare_string"
    HTML_PAGE = "html_page"
    TRUNCATED_JSON = "truncated_json"
    CUT_BODY = "cut_body"
    ANSWER_LOST = "answer_lost"
    PAGE_SHIFT = "page_shift"
    EMPTY_PAGE = "empty_page"
    SHORT_PAGE = "short_page"
    OTHER_COMPANY = "other_company"


# These happen instead of the request; the others happen to its answer, after it was carried out.
_INSTEAD = {
    FaultKind.SERVER_ERROR: (500, "Server Error"),
    FaultKind.BAD_GATEWAY: (502, "502 Bad Gateway"),
    FaultKind.UNAVAILABLE: (503, "Service Unavailable"),
    FaultKind.GATEWAY_TIMEOUT: (504, "504 Gateway Time-out"),
}
_REFUSALS = {
    FaultKind.FORBIDDEN: (403, "This action is unauthorized."),
    FaultKind.NOT_FOUND: (404, "No query results for this record."),
}
# Where the rows of a list answer are; what it says of their number stays as it was.
_ROW_KEYS = ("results", "data", "notes", "change_orders")
_SPEC = re.compile(r"^(?P<kind>[a-z0-9_]+)@(?P<path>/[^#]*)#(?P<nth>\d+)(?:-(?P<last>\d+))?$")


@dataclass(frozen=True)
class ScriptedFault:
    """A fault on exactly the n-th to last request that matches.

    :param path: a shell pattern over the whole path, ``/api/v3/installs`` or ``/api/v3/installs/*/notes``.
    :param nth: 1 is the first request that matches path and method.
    :param last: the last such request with the fault; ``nth`` alone where absent.
    :param method: an HTTP method, or ``*``.
    """

    kind: FaultKind
    path: str = "*"
    nth: int = 1
    last: int | None = None
    method: str = "*"

    def matches(self, request: Request) -> bool:
        """Tell whether the request is one that this fault counts."""
        return fnmatchcase(request.path.rstrip("/"), self.path) and self.method in ("*", request.method)


@dataclass
class Faults:
    """All the faults of one sandbox.

    :param rates: share of requests, 0 to 1, that get each kind; drawn by ``seed`` in order of arrival.
    :param script: faults on exact requests; they go before the drawn ones.
    :param slow_seconds: how long a slow answer takes.
    """

    rates: Mapping[FaultKind, float] = field(default_factory=dict)
    script: Sequence[ScriptedFault] = ()
    seed: int = 0
    slow_seconds: float = 30.0
    happened: Counter[FaultKind] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        wrong = {kind: rate for kind, rate in self.rates.items() if not 0 <= rate <= 1}
        if wrong or sum(self.rates.values()) > 1:
            found = dict(self.rates)
            raise ValueError(f"fault rates must lie between 0 and 1 and sum to at most 1, got {found}")
        self._random = random.Random(self.seed)
        self._seen: Counter[tuple[str, str]] = Counter()

    def choose(self, request: Request) -> FaultKind | None:
        """Count the request and return its fault, or None."""
        fault = self._scripted(request) or self._drawn()
        if fault is not None:
            self.happened[fault] += 1
        return fault

    def _scripted(self, request: Request) -> FaultKind | None:
        patterns = {(f.path, f.method) for f in self.script if f.matches(request)}
        self._seen.update(patterns)
        for fault in self.script:
            place = (fault.path, fault.method)
            last = fault.nth if fault.last is None else fault.last
            if place in patterns and fault.nth <= self._seen[place] <= last:
                return fault.kind
        return None

    def _drawn(self) -> FaultKind | None:
        if not self.rates:
            return None
        roll = self._random.random()
        for kind, rate in self.rates.items():
            roll -= rate
            if roll < 0:
                return kind
        return None


def instead_of_answer(kind: FaultKind | None) -> Response | None:
    """Return what the client gets without the request being carried out, or None if it is carried out."""
    if kind is FaultKind.DROPPED:
        return Response(0, {}, b"", cut=Cut.BEFORE_ANSWER)
    if kind in _INSTEAD:
        return html_page(*_INSTEAD[kind])
    if kind in _REFUSALS:
        return refusal(*_REFUSALS[kind])
    return None


def spoil_answer(kind: FaultKind | None, answer: Response, slow_seconds: float) -> Response:
    """Return an answer as the fault leaves it; the request was carried out."""
    if kind is FaultKind.SLOW:
        return replace(answer, delay=slow_seconds)
    if kind is FaultKind.SUCCESS_FALSE:
        return json_answer({"success": False, "message": "Something went wrong"})
    if kind is FaultKind.BARE_STRING:
        return json_answer("Access not Permitted")
    if kind is FaultKind.HTML_PAGE:
        return html_page(200, "Enerflo is being updated")
    if kind is FaultKind.TRUNCATED_JSON:
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    if kind is FaultKind.CUT_BODY:
        return replace(answer, cut=Cut.IN_BODY)
    if kind is FaultKind.ANSWER_LOST:
        return replace(answer, cut=Cut.BEFORE_ANSWER)
    if kind in (FaultKind.EMPTY_PAGE, FaultKind.SHORT_PAGE):
        return _without_rows(answer, keep_half=kind is FaultKind.SHORT_PAGE)
    return answer


def _without_rows(answer: Response, *, keep_half: bool) -> Response:
    """Return a list answer with the first half of its rows or none of them; any other one as it is."""
    if answer.status != 200:
        return answer
    try:
        said = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer
    key = next((k for k in _ROW_KEYS if isinstance(said, dict) and isinstance(said.get(k), list)), None)
    if key is None:
        return answer
    said[key] = said[key][: len(said[key]) // 2] if keep_half else []
    return replace(answer, body=msgspec.json.encode(said))


def parse_rate(text: str) -> tuple[FaultKind, float]:
    """Return the fault and the rate of ``504=0.01``.

    :raises ValueError: when the text is not of this form or the kind is not known.
    """
    kind, found, rate = text.partition("=")
    if not found:
        raise ValueError(f"a fault rate reads KIND=SHARE such as 504=0.01, got {text!r}")
    return FaultKind(kind), float(rate)


def parse_script(text: str) -> ScriptedFault:
    """Return the scripted fault of ``504@/api/v3/installs#3``, or ``…#3-5`` for a run of requests.

    :raises ValueError: when the text is not of this form or the kind is not known.
    """
    match = _SPEC.match(text)
    if match is None:
        raise ValueError(f"a scripted fault reads KIND@PATH#N such as 504@/api/v3/installs#3, got {text!r}")
    last = int(match["last"]) if match["last"] else None
    return ScriptedFault(FaultKind(match["kind"]), match["path"], int(match["nth"]), last)
