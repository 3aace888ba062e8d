"""The company's REST API as a function from a request to an answer, the same in process and on a socket."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

import msgspec

from enerflo_sandbox import appointments, reads, render, writes
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.draw import Draw
from enerflo_sandbox.emitter import Emitter
from enerflo_sandbox.exchange import Request, Response, html_page, refusal
from enerflo_sandbox.faults import FaultKind, Faults, instead_of_answer, spoil_answer
from enerflo_sandbox.lagging import LaggingList
from enerflo_sandbox.other_company import OtherCompany
from enerflo_sandbox.spelling import Spelling
from enerflo_sandbox.throttle import FixedWindow, Usage
from enerflo_sandbox.world import Received, UnknownRecordError, World
from enerflo_sync.clock import Clock

DEFAULT_KEY = "sandbox-key"
RATE_LIMIT = 300

Hook = Callable[[Request, World], None]
Reader = Callable[..., Response]

_READS: tuple[tuple[re.Pattern[str], Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r"/api/v3/authcheck", reads.authcheck),
        (r"/api/v3/installs", reads.installs),
        (r"/api/v3/installs/notes", reads.notes),
        (r"/api/v3/installs/(\d+)", reads.install),
        (r"/api/v3/installs/find/([^/]+)", reads.find_install),
        (r"/api/v3/installs/(\d+)/notes", reads.notes_of_install),
        (r"/api/v3/installs/(\d+)/change-order-data", reads.change_orders_of_install),
        (r"/api/v3/install-statuses", reads.statuses),
        (r"/api/v1/customers", reads.customers),
        (r"/api/v3/customers/(\d+)", reads.customer),
        (r"/api/v3/customers/([0-9a-fA-F-]{36})", reads.customer_by_uuid),
        (r"/api/v3/customers/(\d+)/appointments", appointments.of_customer),
        (r"/api/v1/appointments", appointments.listed),
        (r"/api/v3/change-orders", reads.change_orders),
        (r"/api/v3/change-orders/(\d+)", reads.change_order),
        (r"/api/v3/users", reads.users),
        (r"/api/v3/offices", reads.offices),
    )
)
_WRITES: tuple[tuple[str, re.Pattern[str], Reader], ...] = tuple(
    (method, re.compile(pattern), writer)
    for method, pattern, writer in (
        ("PUT", r"/api/v3/installs/(\d+)", writes.update_install),
        ("PUT", r"/api/v3/installs/(\d+)/milestones/(\d+)", writes.update_milestone),
        ("POST", r"/api/v3/installs/(\d+)/notes", writes.add_note),
        ("PUT", r"/api/v3/customers/(\d+)", writes.update_customer),
        ("POST", r"/api/v1/partner/action/lead/add", writes.add_lead),
        ("POST", r"/api/v1/appointments", appointments.add),
    )
)


class SandboxApi:
    """Answers requests for a company, with the vendor's limit, errors and quirks, and counts them.

    Thread-safe: requests are carried out one after the other under the world's lock.

    :param keys: the API keys that are accepted.
    :param rate_limit: requests a minute per key.
    :param spelling: how the vendor keeps what it is sent; without one, as it was sent.
    :param largest_page: installs a page may hold before the gateway gives up with 504; no limit where None.
    :param seconds_per_record: how long each install of a page takes, added as delay.
    :param list_lag: how many seconds the install list lags behind direct reads (:meth:`lag_list`).
    :param lean_lists: rows of the install list lack their milestones, as they may at the vendor's.
    :param no_uuid_keys: keys that get 403 on a customer by v2 uuid, as some do (REFERENCE.md §13.7).
    :param before_request: called under the lock before each request, for tests that change the world
        between two pages.
    """

    def __init__(
        self,
        world: World,
        *,
        clock: Clock | None = None,
        keys: Collection[str] = (DEFAULT_KEY,),
        rate_limit: int = RATE_LIMIT,
        faults: Faults | None = None,
        spelling: Spelling | None = None,
        largest_page: int | None = None,
        seconds_per_record: float = 0.0,
        list_lag: float = 0.0,
        lean_lists: bool = False,
        no_uuid_keys: Collection[str] = (),
        before_request: Hook | None = None,
    ) -> None:
        self.world = world
        self.clock = clock if clock is not None else world.clock
        self.keys = frozenset(keys)
        self.throttle = FixedWindow(rate_limit)
        self.faults = faults if faults is not None else Faults()
        self.spelling = spelling if spelling is not None else Spelling()
        # A running company may be told to spell otherwise, so the spelling is looked up for each key.
        world.customers.kept_key = lambda key: self.spelling.key(key)
        self.largest_page = largest_page
        self.seconds_per_record = seconds_per_record
        self.lean_lists = lean_lists
        self.no_uuid_keys = frozenset(no_uuid_keys)
        self.before_request = before_request
        # What tells the world's changes to a receiver; the control routes speak to it.
        self.webhooks: Emitter | None = None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.lagging: LaggingList | None = None
        self._other_company: OtherCompany | None = None
        self._answers = 0
        self.lag_list(list_lag)

    @property
    def usage(self) -> dict[str, Usage]:
        """Return what each key has used of its limit."""
        return self.throttle.usage

    @property
    def other_company(self) -> OtherCompany:
        """Return the company that answers where ``FaultKind.OTHER_COMPANY`` says so."""
        if self._other_company is None:
            era = self.world.era
            world = World(era.installs, era.seed + 1, clock=self.world.clock)
            other = SandboxApi(world, clock=self.clock)
            self._other_company = OtherCompany(world, other._route)
        return self._other_company

    def lag_list(self, seconds: float) -> None:
        """Show the install list of ``seconds`` ago from now on; 0 shows the present again.

        What changed before this call is shown as it is: nobody remembers what it was.
        """
        with self.world.lock:
            if self.lagging is not None:
                self.lagging.end()
            self.lagging = LaggingList(self.world, seconds) if seconds > 0 else None

    def handle(self, request: Request) -> Response:
        """Return the answer to one request; nothing it does raises."""
        with self.world.lock:
            if self.before_request is not None:
                self.before_request(request, self.world)
            return self._limited(request)

    def _limited(self, request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        self.requests[request.method, path] += 1
        key = request.headers.get("api-key") or request.parameters().get("api_key", "")
        verdict = self.throttle.admit(key, self.clock.now().timestamp())
        limit = {
            "x-ratelimit-limit": str(self.throttle.limit),
            "x-ratelimit-remaining": str(verdict.remaining),
        }
        waits = {"retry-after": str(verdict.retry_after), "x-ratelimit-reset": str(verdict.reset)}
        if not verdict.allowed:
            return _with(html_page(429, "Too Many Requests"), {**limit, **waits})
        fault = self.faults.choose(request) if key in self.keys else None
        if fault is FaultKind.TOO_MANY_REQUESTS:
            spent = {**limit, **waits, "x-ratelimit-remaining": "0"}
            return _with(html_page(429, "Too Many Requests"), spent)
        early = instead_of_answer(fault)
        if early is not None:
            # Pages of the proxy in front carry no limit headers; the application's own 500 does.
            return _with(early, limit) if early.status == 500 else early
        if fault is FaultKind.PAGE_SHIFT:
            self.world.step(0, 1, (ChangeKind.NEW_INSTALL,))
        answer = refusal(401, "Unauthenticated.")
        if key in self.keys:
            answer_of = self.other_company.answer if fault is FaultKind.OTHER_COMPANY else self._route
            answer = answer_of(request, path, key)
        if answer.status != 504:
            answer = _with(answer, limit)
        return spoil_answer(fault, answer, self.faults.slow_seconds)

    def _route(self, request: Request, path: str, key: str) -> Response:
        try:
            if request.method == "GET":
                return self._read(request, path, key)
            return self._write(request, path)
        except UnknownRecordError:
            return refusal(404, "No query results for this record.")

    def _read(self, request: Request, path: str, key: str) -> Response:
        parameters = request.parameters()
        for pattern, reader in _READS:
            match = pattern.fullmatch(path)
            if match is not None:
                if reader is reads.installs:
                    return self._list_installs(parameters)
                if reader is reads.customer_by_uuid and key in self.no_uuid_keys:
                    return refusal(403, "This action is unauthorized.")
                return self._sign(reader(self.world, parameters, *match.groups()))
        return refusal(404, "Not Found")

    def _list_installs(self, parameters: dict[str, str]) -> Response:
        size = reads.whole_number(parameters.get("per_page"), reads.DEFAULT_PAGE)
        if self.largest_page is not None and size > self.largest_page:
            return html_page(504, "504 Gateway Time-out")
        answer = reads.installs(self.world, parameters, self._signature, self._shown_installs())
        if self.lean_lists:
            listing = msgspec.json.decode(answer.body)
            for row in listing["results"]:
                del row["all_milestones"]
            answer = replace(answer, body=msgspec.json.encode(listing))
        return replace(answer, delay=self.seconds_per_record * size)

    def _shown_installs(self) -> reads.PageOf | None:
        """Return what gives the install list's pages; None: the present installs, all of them."""
        return self.lagging.page if self.lagging is not None else None

    def _write(self, request: Request, path: str) -> Response:
        try:
            body = msgspec.json.decode(request.body) if request.body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        self.world.received.append(Received(self.world.now(), request.method, path, body))
        if not isinstance(body, dict):
            return refusal(400, "The body is not a JSON object.")
        known = False
        for method, pattern, writer in _WRITES:
            match = pattern.fullmatch(path)
            known = known or match is not None
            if match is not None and method == request.method:
                answer = writer(self.world, self.spelling.kept(body), *match.groups())
                return self._sign(self.spelling.answered(answer, body))
        return refusal(405 if known else 404, "Method Not Allowed" if known else "Not Found")

    def _sign(self, answer: Response) -> Response:
        """Put this answer's own signatures and session where the records have marks."""
        if render.NONCE_BYTES not in answer.body:
            return answer
        return replace(answer, body=render.signed(answer.body, self._signature()))

    def _signature(self) -> dict[bytes, bytes]:
        """Return what one more answer has in place of the marks."""
        self._answers += 1
        nonce = Draw(self.world.era.seed, "answer", self._answers).hex(len(render.NONCE_MARK))
        return render.signature(nonce, self.world.moment())


def _with(answer: Response, headers: dict[str, str]) -> Response:
    return replace(answer, headers={**answer.headers, **headers})


__all__ = ["DEFAULT_KEY", "RATE_LIMIT", "Request", "Response", "SandboxApi"]
