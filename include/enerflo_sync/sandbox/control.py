"""The routes under /_sandbox/, by which the demo steers a running company; they count as no request."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from enerflo_sync.sandbox.api import SandboxApi
from enerflo_sync.sandbox.bad_records import BadKind
from enerflo_sync.sandbox.changes import ChangeKind
from enerflo_sync.sandbox.exchange import Request, Response, json_answer, refusal
from enerflo_sync.sandbox.faults import Faults, parse_rate, parse_script
from enerflo_sync.sandbox.plants import Plant
from enerflo_sync.sandbox.world import UnknownRecordError

PREFIX = "/_sandbox/"


class StepOrder(msgspec.Struct):
    """Body of POST /_sandbox/step."""

    minutes: float = 15
    events: int | None = None
    kinds: list[ChangeKind] | None = None


class DeleteOrder(msgspec.Struct):
    """Body of POST /_sandbox/delete: one install, or all that are planted to be deleted."""

    install_id: int | None = None
    planted: bool = False


class FaultsOrder(msgspec.Struct):
    """Body of POST /_sandbox/faults, in the words of the command line; an empty one ends all faults."""

    rates: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    seed: int = 0
    slow_seconds: float = 30.0


class BadOrder(msgspec.Struct):
    """Body of POST /_sandbox/bad: spoil one install's record."""

    install_id: int
    kind: BadKind


class Control:
    """Answers the control routes of one sandbox."""

    def __init__(self, api: SandboxApi) -> None:
        self._api = api
        self._routes: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("POST", "step"): self._step,
            ("POST", "delete"): self._delete,
            ("POST", "faults"): self._faults,
            ("POST", "bad"): self._bad,
            ("GET", "received"): self._received,
            ("GET", "changes"): self._changes,
            ("GET", "truth"): self._truth,
            ("GET", "usage"): self._usage,
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to a control request; a wrong body gets 422 with the reason."""
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX).rstrip("/")))
        if route is None:
            known = ", ".join(f"{method} {PREFIX}{name}" for method, name in self._routes)
            return refusal(404, f"no such control route; there are {known}")
        with self._api.world.lock:
            try:
                return json_answer(route(request.body or b"{}"))
            except UnknownRecordError as error:
                return refusal(404, str(error))
            except (msgspec.DecodeError, ValueError) as error:
                return refusal(422, str(error))

    def _step(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=StepOrder)
        changes = self._api.world.step(order.minutes, order.events, order.kinds)
        return {"changes": [change.to_json() for change in changes]}

    def _delete(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=DeleteOrder)
        world = self._api.world
        ids = [] if order.install_id is None else [order.install_id]
        if order.planted:
            numbers = world.plants.installs.get(Plant.DELETED_IN_ENERFLO, ())
            ids += [world.install_id(number) for number in numbers if world.installs.is_live(number)]
        for install_id in ids:
            world.delete_install(install_id)
        return {"deleted": ids}

    def _faults(self, body: bytes) -> object:
        order = msgspec.json.decode(body, type=FaultsOrder)
        self._api.faults = Faults(
            dict(parse_rate(text) for text in order.rates),
            [parse_script(text) for text in order.script],
            order.seed,
            order.slow_seconds,
        )
        return {"rates": order.rates, "script": order.script}

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
