"""The receiver's routes: ``/hooks/{account}/{secret}``, ``/hooks/{account}``, ``/health``, ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from enerflo_sync.clock import Clock
from enerflo_sync.drop.writer import DropWriter
from enerflo_sync.receiver.access import Gate
from enerflo_sync.receiver.health import Health
from enerflo_sync.receiver.intake import Intake, Stored
from enerflo_sync.receiver.metrics import CONTENT_TYPE, Metrics
from enerflo_sync.receiver.outcomes import PostOutcome, RefusedError
from enerflo_sync.receiver.refusals import Refusals
from enerflo_sync.receiver.settings import ReceiverSettings

logger = logging.getLogger(__name__)


def make_app(
    settings: ReceiverSettings, drops: Mapping[str, DropWriter], clock: Clock, rng: random.Random
) -> FastAPI:
    """Return the service for the accounts in ``settings``, each with a drop under its name.

    A post is answered with 200 only when it is durable in the drop. Methods other than POST get 405 for any
    path below ``/hooks/``. Logs contain accounts, sizes, file names and outcomes.
    """
    desk = _Desk(settings, drops, clock, rng)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.intake.close()

    # No documentation pages: only senders that know the routes need them.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)

    @app.post("/hooks/{account}/{secret}")
    async def receive_by_path(request: Request, account: str, secret: str) -> Response:
        return await desk.receive(request, account, secret)

    @app.post("/hooks/{account}")
    async def receive_by_header(request: Request, account: str) -> Response:
        return await desk.receive(request, account, request.headers.get(settings.secret_header, ""))

    @app.exception_handler(404)
    async def wrong_path(request: Request, _: Exception) -> Response:
        # A post gets the same answer as with a wrong account or secret, and is counted as such a one.
        if request.method == "POST":
            desk.count("", "", PostOutcome.UNKNOWN_HOOK)
        return _refusal(RefusedError(PostOutcome.UNKNOWN_HOOK, "Not Found"))

    @app.get("/health")
    async def health() -> Response:
        reasons = await asyncio.to_thread(desk.health.reasons)
        # A balancer must not take the service from the accounts whose drops work.
        none_left = bool(reasons) and reasons.keys() >= drops.keys() - settings.left_out.keys()
        state = "unavailable" if none_left else "partial" if reasons else "ok"
        closed = {"closed": sorted(settings.left_out)} if settings.left_out else {}
        return JSONResponse({"status": state, "drops": reasons, **closed}, 503 if none_left else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        free = await asyncio.to_thread(desk.health.free_bytes)
        return PlainTextResponse(desk.metrics.rendered(free), media_type=CONTENT_TYPE)

    return app


class _Desk:
    """State shared by the routes."""

    def __init__(
        self, settings: ReceiverSettings, drops: Mapping[str, DropWriter], clock: Clock, rng: random.Random
    ) -> None:
        self.intake = Intake(settings, drops, clock, rng)
        self.health = Health(drops, clock)
        self.metrics = Metrics(hook.account for hook in settings.hooks)
        self._refusals = Refusals(drops, clock)
        self._gate = Gate(settings.hooks)
        self._clock = clock

    async def receive(self, request: Request, account: str, offered: str) -> Response:
        """Handle one post: take it, count it, log it, and answer."""
        started = self._clock.monotonic()
        hook = self._gate.admits(account, offered)
        known = hook.account if hook else ""
        stored: Stored | None = None
        answer: Response
        try:
            if hook is None:
                # The same answer as for a path without a route.
                raise RefusedError(PostOutcome.UNKNOWN_HOOK, "Not Found")
            stored = await self.intake.take(hook, _headers(request), request.stream())
            outcome, answer = PostOutcome.STORED, JSONResponse({"stored": stored.name})
        except RefusedError as refused:
            outcome, answer = refused.outcome, _refusal(refused)
        except ClientDisconnect:
            outcome, answer = PostOutcome.ABORTED, Response(status_code=PostOutcome.ABORTED.status)
        except Exception as error:
            # The error's text and trace may contain part of the body, so log and answer without them.
            logger.error("defect account=%s kind=%s", known, type(error).__name__)
            outcome, answer = PostOutcome.FAILED, JSONResponse({"detail": "Internal Server Error"}, 500)
        self.count(known, account, outcome, stored, self._clock.monotonic() - started)
        return answer

    def count(
        self, known: str, named: str, outcome: PostOutcome, stored: Stored | None = None, seconds: float = 0.0
    ) -> None:
        """Count and log one post.

        :param known: the account whose secret it had; empty without one. :param named: the one in its path.
        """
        size = stored.size if stored else 0
        self.metrics.add(known, outcome, size, seconds)
        self._refusals.add(named, outcome, self.intake.threads)
        logger.info(
            "post account=%s outcome=%s status=%d bytes=%d id=%s",
            known or "-",
            outcome,
            outcome.status,
            size,
            stored.name if stored else "-",
        )


def _headers(request: Request) -> dict[str, str]:
    """Return the headers by lower-case name; repeated headers joined, as HTTP allows."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _refusal(refused: RefusedError) -> Response:
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    if refused.outcome is PostOutcome.UNSUPPORTED:
        headers["accept-encoding"] = "gzip"
    return JSONResponse({"detail": refused.detail}, refused.outcome.status, headers)
