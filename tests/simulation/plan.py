"""What one seed decides: the company, the mess, the faults, and how often what happens."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.delivery import DropFormat
from enerflo_sandbox.emitter import Mess
from enerflo_sandbox.faults import FaultKind
from enerflo_sandbox.life import USUAL_KINDS
from tests.simulation.drawn_shapes import shape_of
from tests.simulation.people import USUAL, Edit
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble, troubles_of

# What happens to a request itself, and what an application or proxy says in good order that is wrong.
TRANSIENT = (
    *(FaultKind.TOO_MANY_REQUESTS, FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE),
    *(FaultKind.GATEWAY_TIMEOUT, FaultKind.DROPPED, FaultKind.SLOW, FaultKind.TRUNCATED_JSON),
    *(FaultKind.CUT_BODY, FaultKind.ANSWER_LOST, FaultKind.PAGE_SHIFT),
)
MISLEADING = (FaultKind.SUCCESS_FALSE, FaultKind.BARE_STRING, FaultKind.HTML_PAGE)


@dataclass(frozen=True)
class Plan:
    """The rates and sizes of one simulated company.

    Half of the seeds leave each kind of trouble out, so that one kind does not hide another.

    :param tick: minutes between two looks at what is due.
    :param events: changes of the company in one tick, on average.
    :param kinds: what may change; everything where empty.
    :param poll_every: ticks between two polls; ``ingest_every`` alike.
    :param killed: the share of jobs that are killed; ``lost`` of those whose warehouse goes away.
    :param restless: the chance that the company changes at a boundary of a job.
    :param beside: the chance that another job runs while a job holds an answer.
    :param failing: the share of file operations that the disk refuses.
    :param down: the chance that Enerflo answers nothing during a job.
    :param both_ways: there is a CRM with people who edit it, and plans that are applied on both sides.
    :param edits: edits of the CRM in one tick, on average; ``edit_kinds`` which, every kind where empty.
    :param sync_every: ticks between two plans, each with its application.
    :param refused: the share of writes that Enerflo refuses (403, 404, 422).
    :param late: the share of writes that are carried out and answered with 504.
    :param troubles: what else goes wrong, each kind with its rate.
    :param shape: how the CRM is built.
    """

    installs: int = 20
    tick: int = 15
    events: float = 1.5
    kinds: tuple[ChangeKind, ...] = ()
    poll_every: int = 1
    ingest_every: int = 1
    mess: Mess = field(default_factory=Mess)
    faults: dict[FaultKind, float] = field(default_factory=dict)
    formats: DropFormat = DropFormat.MIXED
    reused_names: float = 0.0
    killed: float = 0.0
    lost: float = 0.0
    restless: float = 0.0
    beside: float = 0.0
    failing: float = 0.0
    down: float = 0.0
    spoilt: float = 0.0
    per_page: int = 500
    notes_lookback: timedelta = timedelta(minutes=15)
    notes_sweep_every: timedelta = timedelta(hours=24)
    lean_lists: bool = False
    without_uuids: bool = False
    both_ways: bool = False
    edits: float = 0.0
    edit_kinds: tuple[Edit, ...] = ()
    sync_every: int = 2
    refused: float = 0.0
    late: float = 0.0
    troubles: Mapping[Trouble, float] = field(default_factory=dict)
    shape: Shape = field(default_factory=Shape)

    def rate(self, trouble: Trouble) -> float:
        """Return how much there is of a trouble, from 0 for none to 1."""
        return self.troubles.get(trouble, 0.0)


def plan_of(seed: int, troubles: Mapping[Trouble, float] | None = None) -> Plan:
    """Return the plan of a seed.

    :param troubles: what else goes wrong; by the seed where None.
    """
    troubles = troubles_of(seed) if troubles is None else troubles
    rng = random.Random(f"{seed}/plan")

    def some(most: float, chance: float = 0.5) -> float:
        """Return a rate up to ``most``, or none at all."""
        rate = most * rng.random() ** 2
        return rate if rng.random() < chance else 0.0

    lean_lists = rng.random() < 0.15
    faults = {kind: some(0.03) for kind in TRANSIENT} | {kind: some(0.01, 0.25) for kind in MISLEADING}
    are_there = rng.random() < 0.6
    faults = {kind: rate for kind, rate in faults.items() if rate} if are_there else {}
    return Plan(
        installs=rng.randrange(8, 31),
        tick=rng.choice((15, 15, 30, 60)),
        events=rng.choice((0.1, 0.3, 0.6, 1.5)),
        poll_every=rng.choice((1, 4, 8, 16)),
        ingest_every=rng.choice((1, 1, 2, 3)),
        mess=Mess(
            loss=some(0.5),
            duplicate=some(0.5),
            delay=some(0.6),
            longest_delay=timedelta(minutes=rng.choice((2, 30, 180))),
            reorder=some(0.5),
        ),
        faults=faults,
        troubles=troubles,
        formats=rng.choice((DropFormat.MIXED, DropFormat.MIXED, DropFormat.RAW, DropFormat.LINES)),
        reused_names=some(0.3, 0.25),
        killed=some(0.7, 0.8),
        lost=some(0.2, 0.3),
        restless=some(0.02),
        beside=some(0.1),
        failing=some(0.2, 0.3),
        down=some(0.2, 0.3),
        # The sandbox cannot make a lean list of some spoilt records.
        spoilt=0.0 if lean_lists else some(0.05, 0.25),
        per_page=rng.choice((500, 500, 15, 7)),
        notes_lookback=timedelta(seconds=rng.choice((2, 60, 900))),
        notes_sweep_every=timedelta(hours=rng.choice((4, 24))),
        lean_lists=lean_lists,
        without_uuids=rng.random() < 0.25,
        kinds=()
        if rng.random() < 0.7
        else tuple(rng.sample([kind for kind in ChangeKind if kind in USUAL_KINDS], 4)),
    )


def both_ways_plan_of(seed: int, troubles: Mapping[Trouble, float] | None = None) -> Plan:
    """Return the plan of a seed with the way back: a smaller company beside its CRM."""
    troubles = troubles_of(seed) if troubles is None else troubles
    rng = random.Random(f"{seed}/both ways")
    share = rng.random() ** 2
    shape = shape_of(seed, troubles)
    return replace(
        plan_of(seed, troubles),
        shape=shape,
        # Each of two branches has some.
        installs=rng.randrange(3, 9) + (6 if shape.branched else 0),
        both_ways=True,
        poll_every=rng.choice((1, 2, 4)),
        edits=rng.choice((0.5, 1.0, 3.0)),
        edit_kinds=() if rng.random() < 0.7 else tuple(rng.sample(USUAL, 4)),
        sync_every=rng.choice((1, 1, 2, 4)),
        refused=0.2 * share if rng.random() < 0.5 else 0.0,
        late=0.3 * share if rng.random() < 0.5 else 0.0,
    )
