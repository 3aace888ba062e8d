"""What the tests of replay share: one that is asked in a line, and what it is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions
from enerflo_sync.inbox.quarantine_items import Selection
from enerflo_sync.inbox.replay import replay
from enerflo_sync.inbox.replay_report import ReplayReport
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.resources.resource import Resource
from tests.inbox.conftest import LIMITS, Inbox, update_install

ALL = Selection(everything=True)


@dataclass
class Again:
    """Replays of one inbox."""

    inbox: Inbox

    def __call__(self, selection: Selection = ALL, *, dry: bool = False, **more: Any) -> ReplayReport:
        inbox, calls = self.inbox, CallCounter()
        hydration = HydrateOptions(**{name: more.pop(name) for name in ("not_found_for",) if name in more})
        options = IngestOptions(limits=more.pop("limits", LIMITS), hydration=hydration)
        return replay(
            lambda: inbox.company.client(calls, inbox.key),
            inbox.warehouse,
            lambda: inbox.place,
            inbox.account,
            selection,
            dry=dry,
            by="ann",
            clock=inbox.clock,
            rng=inbox.company.rng,
            calls=calls,
            options=options,
            **more,
        )

    def one(self, selection: Selection = ALL, **more: Any) -> tuple[str, str]:
        """What became of the only item."""
        (result,) = self(selection, **more).results
        return str(result.outcome), result.detail


def everything(inbox: Inbox) -> list[Any]:
    """All rows that a replay may touch."""
    tables = "quarantine webhook_events webhook_moves runs api_calls".split()
    found = [inbox.rows(f"select t::text from sync.{name} t order by 1") for name in tables]
    return [*found, inbox.rows("select t::text from enerflo.installs t order by 1")]


def items(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.rows(
        "select kind, reason, state, decided_by from sync.quarantine order by first_seen_at, reason"
    )


def first_install(inbox: Inbox) -> int:
    return min(row.install_id for row in inbox.world.truth.installs())


def add_to_quarantine(inbox: Inbox, resource: Resource, record: dict[str, Any], by: str = "poll:x") -> None:
    """Let a record arrive that cannot be used."""
    observation = Observation("default", inbox.clock.now(), "poll", by)
    with inbox.warehouse.begin() as connection:
        tally = Intake(resource).take(connection, [msgspec.json.encode(record)], observation).tally
    assert tally.quarantined == 1
    inbox.clock.advance(60)


def not_found_now(inbox: Inbox, install_id: int) -> None:
    """Drop an event whose install Enerflo does not know, late enough to be put aside."""
    inbox.drop(update_install(install_id))
    inbox.later(120)
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1}


def next_install(inbox: Inbox) -> int:
    return max(row.install_id for row in inbox.world.truth.installs()) + 1
