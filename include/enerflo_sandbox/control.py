"""The routes under /_sandbox/, by which the demo steers a running company; they count as no request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import msgspec

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.emitter import Delivery, Emitter
from enerflo_sandbox.exchange import Request, Response, json_answer, refusal
from enerflo_sandbox.faults import Faults, parse_rate, parse_script
from enerflo_sandbox.plants import Plant
from enerflo_sandbox.spelling import parse_spelling
from enerflo_sandbox.world import UnknownRecordError

PREFIX = "/_sandbox/"


class StepOrder(msgspec.Struct):
    """Body of POST /_sandbox/step; without ``emit`` no webhook tells of the changes."""

    minutes: float = 15
    events: int | None = None
    kinds: list[ChangeKind] | None = None
    emit: bool = False


class DeleteOrder(msgspec.Struct):
    """Body of POST /_sandbox/delete: one install, or all that are planted to be deleted."""

    install_id: int | None = None
    planted: bool = False
    emit: bool = False


class FinishOrder(msgspec.Struct):
    """Body of POST /_sandbox/orders: give planted change orders the status that shows their fault."""

    emit: bool = False


class DeliverOrder(msgspec.Struct):
    """Body of POST /_sandbox/webhooks: send what is due now, or all that is pending."""

    all: bool = False


class FaultsOrder(msgspec.Struct):
    """Body of POST /_sandbox/faults, in the words of the command line; an empty one ends all faults."""

    rates: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    seed: int = 0
    slow_seconds: float = 30.0
    list_lag: float = 0.0


class SpellingOrder(msgspec.Struct):
    """Body of POST /_sandbox/spelling, in the words of the command line; an empty one ends it."""

    respell: tuple[str, ...] = ()
    zone: str = "UTC"
    share: float = 1.0
    seed: int = 0


class BadOrder(msgspec.Struct):
    """Body of POST /_sandbox/bad: spoil one install's record."""

    install_id: int
    kind: BadKind


class Control:
    """Answers the control routes of one sandbox."""

    def __init__(self, api: SandboxApi) -> None:
        self._api = api
        self._routes: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("POST", "faults"): self._faults,
            ("POST", "spelling"): self._spelling,
            ("POST", "bad"): self._bad,
            ("GET", "received"): self._received,
            ("GET", "changes"): self._changes,
            ("GET", "orders"): self._orders,
            ("GET", "truth"): self._truth,
            ("GET", "usage"): self._usage,
            ("GET", "webhooks"): self._webhooks,
        }
        # Carried out without the world's lock: a slow receiver must not keep the company from answering.
        self._sending_routes: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("POST", "step"): self._step,
            ("POST", "delete"): self._delete,
            ("POST", "orders"): self._finish_orders,
            ("POST", "webhooks"): self._deliver,
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to a control request; a wrong body gets 422 with the reason."""
        asked = request.method, request.path.removeprefix(PREFIX).rstrip("/")
        sending, route = self._sending_routes.get(asked), self._routes.get(asked)
        body = request.body or b"{}"
        try:
            if sending is not None:
                return json_answer(sending(body))
            if route is not None:
                with self._api.world.lock:
                    return json_answer(route(body))
        except UnknownRecordError as error:
            return refusal(404, str(error))
        except (msgspec.DecodeError, ValueError) as error:
            return refusal(422, str(error))
        routes = sorted((*self._sending_routes, *self._routes))
        known = ", ".join(f"{method} {PREFIX}{name}" for method, name in routes)
        return refusal(404, f"no such control route; there are {known}")

    def _step(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=StepOrder)
        told: dict[str, object] = {}
        with self._telling(order.emit, told):
            changes = self._api.world.step(order.minutes, order.events, order.kinds)
        return {"changes": [change.to_json() for change in changes], **told}

    @contextmanager
    def _telling(self, emit: bool, told: dict[str, object]) -> Iterator[None]:
        """Hold the world's lock; afterwards send what is due and put into ``told`` how many events came."""
        if not emit:
            quiet = nullcontext() if self._api.webhooks is None else self._api.webhooks.muted()
            with self._api.world.lock, quiet:
                yield
            return
        emitter = self._emitter()
        with self._api.world.lock:
            before = emitter.events
            yield
            told["events"] = emitter.events - before
        emitter.deliver_due()
        told["pending"] = emitter.pending

    def _emitter(self) -> Emitter:
        if self._api.webhooks is None:
            raise ValueError("this sandbox sends no webhooks; start it with --webhooks URI_OR_URL.")
        return self._api.webhooks

    def _deliver(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=DeliverOrder)
        emitter = self._emitter()
        ended = emitter.drain() if order.all else emitter.deliver_due()
        return {"webhooks": [_delivery(one) for one in ended], "pending": emitter.pending}

    def _webhooks(self, body: bytes) -> object:
        emitter = self._api.webhooks
        if emitter is None:
            return {"enabled": False}
        counts: dict[str, dict[str, int]] = {}
        for (event, fate), count in sorted(emitter.counts.items()):
            counts.setdefault(event, {})[fate.value] = count
        return {
            "enabled": True,
            "events": emitter.events,
            "counts": counts,
            "pending": emitter.pending,
            "next_due": emitter.next_due,
            "recent": [_delivery(one) for one in emitter.recent],
        }

    def _delete(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=DeleteOrder)
        world = self._api.world
        ids = [] if order.install_id is None else [order.install_id]
        told: dict[str, object] = {}
        with self._telling(order.emit, told):
            if order.planted:
                numbers = world.plants.installs.get(Plant.DELETED_IN_ENERFLO, ())
                ids += [world.install_id(number) for number in numbers if world.installs.is_live(number)]
            for install_id in ids:
                world.delete_install(install_id)
        return {"deleted": ids, **told}

    def _finish_orders(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=FinishOrder)
        told: dict[str, object] = {}
        with self._telling(order.emit, told):
            finished = self._api.world.finish_orders()
        return {"finished": finished, **told}

    def _orders(self, body: bytes) -> object:
        planted = self._api.world.planted_orders.values()
        return {"orders": [{**asdict(one), "fails": sorted(one.fails)} for one in planted]}

    def _faults(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=FaultsOrder)
        self._api.faults = Faults(
            dict(parse_rate(text) for text in order.rates),
            [parse_script(text) for text in order.script],
            order.seed,
            order.slow_seconds,
        )
        self._api.lag_list(order.list_lag)
        return {"rates": order.rates, "script": order.script, "list_lag": order.list_lag}

    def _spelling(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=SpellingOrder)
        self._api.spelling = parse_spelling(
            order.respell, zone=order.zone, share=order.share, seed=order.seed
        )
        return {"respell": order.respell}

    def _bad(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=BadOrder)
        self._api.world.plant_bad(order.install_id, order.kind)
        return {"install_id": order.install_id, "kind": order.kind}

    def _received(self, body: bytes) -> object:
        return {
            "received": [
                {"at": one.at, "method": one.method, "path": one.path, "body": one.body}
                for one in self._api.world.received
            ]
        }

    def _changes(self, body: bytes) -> object:
        return {"changes": [change.to_json() for change in self._api.world.changes]}

    def _truth(self, body: bytes) -> object:
        world = self._api.world
        return {
            "now": world.now(),
            "installs_seeded": world.era.installs,
            "seed": world.era.seed,
            "per_cause": world.plants.per_cause,
            "counts": world.truth.counts(),
        }

    def _usage(self, body: bytes) -> object:
        keys = [
            {"accepted": usage.accepted, "refused": usage.refused, "most_in_a_window": usage.most_in_a_window}
            for usage in self._api.usage.values()
        ]
        common = self._api.requests.most_common(100)
        requests = {f"{method} {path}": count for (method, path), count in common}
        faults = {kind.value: count for kind, count in self._api.faults.happened.items()}
        return {"limit": self._api.throttle.limit, "keys": keys, "requests": requests, "faults": faults}


def _delivery(one: Delivery) -> dict[str, object]:
    return {**asdict(one), **one.ids}
