"""What plausibly happens in the company as time passes, chosen by the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.draw import Draw
from enerflo_sandbox.seeded import draw_adders
from enerflo_sandbox.state import ChangeOrderState, InstallState

if TYPE_CHECKING:
    from enerflo_sandbox.world import World

_DAILY_SHARE = 0.02
_MINUTES_A_DAY = 1440
_TRIES = 50
_WEIGHTS: dict[ChangeKind, int] = {
    ChangeKind.NEW_INSTALL: 10,
    ChangeKind.STATUS_CHANGED: 18,
    ChangeKind.MILESTONE_CHANGED: 28,
    ChangeKind.NOTE_CREATED: 20,
    ChangeKind.NOTE_EDITED: 4,
    ChangeKind.NOTE_DELETED: 3,
    ChangeKind.CHANGE_ORDER_SIGNED: 6,
    ChangeKind.CUSTOMER_EDITED: 5,
    ChangeKind.INSTALL_VOIDED: 3,
    ChangeKind.INSTALL_RESUBMITTED: 2,
    ChangeKind.INSTALL_DELETED: 1,
    ChangeKind.NEW_CUSTOMER: 4,
    # Only where it is asked for.
    ChangeKind.INSTALL_GIVEN: 0,
}
# What happens by itself.
USUAL_KINDS = [kind for kind, weight in _WEIGHTS.items() if weight]


class Life:
    """The source of change of one world; its own random stream makes every run of a seed the same."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(f"{world.era.seed}/life")
        self._spared = world.plants.install_numbers()
        self._spared_notes = world.plants.note_positions()
        self._acts: dict[ChangeKind, Callable[[], None]] = {
            ChangeKind.NEW_INSTALL: self._new_install,
            ChangeKind.STATUS_CHANGED: self._status,
            ChangeKind.MILESTONE_CHANGED: self._milestone,
            ChangeKind.NOTE_CREATED: self._note,
            ChangeKind.NOTE_EDITED: self._edit_note,
            ChangeKind.NOTE_DELETED: self._delete_note,
            ChangeKind.CHANGE_ORDER_SIGNED: self._change_order,
            ChangeKind.CUSTOMER_EDITED: self._customer,
            ChangeKind.INSTALL_VOIDED: self._void,
            ChangeKind.INSTALL_RESUBMITTED: self._resubmit,
            ChangeKind.INSTALL_DELETED: self._delete,
            ChangeKind.NEW_CUSTOMER: self._lead,
            ChangeKind.INSTALL_GIVEN: self._give,
        }

    def step(self, minutes: float, events: int | None, kinds: Sequence[ChangeKind] | None) -> None:
        """Make the changes of ``minutes``, spread evenly where the clock can be moved."""
        if events is None:
            expected = len(self._world.installs) * _DAILY_SHARE * minutes / _MINUTES_A_DAY
            events = max(1, round(expected))
        choices = list(kinds) if kinds is not None else USUAL_KINDS
        weights = [_WEIGHTS[kind] or 1 for kind in choices]
        pause = minutes * 60 / (events + 1)
        for _ in range(events):
            self._pass(pause)
            self._acts[self._random.choices(choices, weights)[0]]()
        self._pass(pause)

    def _pass(self, seconds: float) -> None:
        advance = getattr(self._world.clock, "advance", None)
        if advance is not None:
            advance(seconds)

    def _some_install(self, fits: Callable[[InstallState], bool] = lambda state: True) -> InstallState | None:
        books = self._world.installs
        if not len(books):
            return None
        for _ in range(_TRIES):
            (number,) = books.page(self._random.randrange(len(books)), 1)
            state = books.get(number)
            if self._is_free(number) and fits(state):
                return state
        return None

    def _is_free(self, number: int) -> bool:
        world = self._world
        planted = number in self._spared or number in world.bad
        return not planted and not world.planted_orders.keys() & world.change_orders.of_install(number)

    def _new_install(self) -> None:
        self._world.create_install()

    def _status(self) -> None:
        state = self._some_install(lambda s: s.status_id in (c.IN_PROGRESS, c.ON_HOLD, c.PENDING_KCA))
        if state is None:
            return self._new_install()
        choices = [s for s in (c.IN_PROGRESS, c.ON_HOLD, c.PENDING_KCA, c.CANCELLED) if s != state.status_id]
        self._world.set_status(state.install_id, self._random.choice(choices))

    def _milestone(self) -> None:
        state = self._some_install(lambda s: s.status_id == c.IN_PROGRESS and not s.is_finished)
        if state is None:
            return self._new_install()
        at = state.current_milestone
        now = self._world.now()
        if at is None:
            at = next(at for at, dates in enumerate(state.milestones) if dates.completed is None)
            due = now + timedelta(days=30)
            self._world.set_milestone(
                state.install_id, c.MILESTONES[at].milestone_id, {"started": now, "due": due}
            )
        elif self._random.random() < 0.2:
            due = now + timedelta(days=self._random.randrange(1, 40))
            self._world.set_milestone(state.install_id, c.MILESTONES[at].milestone_id, {"due": due})
        else:
            self._complete(state, at)

    def _complete(self, state: InstallState, at: int) -> None:
        now = self._world.now()
        self._world.set_milestone(state.install_id, c.MILESTONES[at].milestone_id, {"completed": now})
        if at + 1 < len(c.MILESTONES) and state.milestones[at + 1].started is None:
            self._world.set_milestone(state.install_id, c.MILESTONES[at + 1].milestone_id, {"started": now})
        elif all(d.completed is not None for n, d in enumerate(state.milestones) if n != at):
            self._world.set_status(state.install_id, c.COMPLETED)

    def _note(self) -> None:
        state = self._some_install()
        if state is None:
            return self._new_install()
        author = self._random.choice(c.USERS)
        text = self._random.choice(c.NOTE_TEXTS).format(
            name=self._random.choice(c.USERS).name, city="the city", number=self._random.randrange(60_000)
        )
        self._world.add_note(state.install_id, text, author_id=author.user_id)

    def _some_note(self) -> int | None:
        visible = self._world.notes.visible()
        for _ in range(_TRIES if visible else 0):
            position = self._random.choice(visible)
            if position not in self._spared_notes and self._world.notes.get(position).deleted is None:
                return self._world.notes.get(position).note_id
        return None

    def _edit_note(self) -> None:
        note_id = self._some_note()
        if note_id is None:
            return self._note()
        self._world.edit_note(note_id, f"(edited {self._random.randrange(10_000)}) see the latest plans")

    def _delete_note(self) -> None:
        note_id = self._some_note()
        if note_id is None:
            return self._note()
        self._world.delete_note(note_id)

    def _change_order(self) -> None:
        state = self._some_install(lambda s: s.has_equipment and s.status_id == c.IN_PROGRESS)
        if state is None:
            return self._new_install()
        now = self._world.moment()
        order_id = self._world.change_orders.next_id()
        old, new = draw_adders(Draw(self._world.era.seed, "late-order", order_id))
        panel = self._random.choice(c.PANELS)
        battery = f"{self._random.randrange(1, 4)} x {self._random.choice(c.BATTERIES)}"
        more = state.panel_count + self._random.randrange(1, 9)
        order = ChangeOrderState(
            change_order_id=order_id,
            install_number=state.number,
            creator_id=self._random.choice(c.USERS).user_id,
            status="complete",
            created=now,
            updated=now,
            signed=now,
            panel=(c.PANELS[state.panel].name, panel.name) if self._random.random() < 0.4 else None,
            panel_count=(state.panel_count, more) if self._random.random() < 0.8 else None,
            battery=(state.battery, battery) if self._random.random() < 0.4 else None,
            adders_old=old,
            adders_new=new,
            total_cost_old=(state.cost_cents or 3_000_000) // 100,
        )
        self._world.sign_change_order(order)

    def _customer(self) -> None:
        state = self._some_install()
        if state is None:
            return self._lead()
        mobile = f"555{self._random.randrange(10_000_000):07d}"
        self._world.edit_customer(state.customer_id, {"mobile": mobile})

    def _void(self) -> None:
        state = self._some_install(lambda s: s.status_id in (c.IN_PROGRESS, c.ON_HOLD))
        if state is None:
            return self._new_install()
        self._world.void_install(state.install_id)

    def _resubmit(self) -> None:
        state = self._some_install(lambda s: s.status_id == c.VOIDED)
        if state is None:
            return self._void()
        self._world.resubmit_install(state.install_id, panel_count=state.panel_count + 2)

    def _delete(self) -> None:
        state = self._some_install()
        if state is None:
            return self._new_install()
        self._world.delete_install(state.install_id)

    def _give(self) -> None:
        state = self._some_install()
        if state is None:
            return self._new_install()
        self._world.give_install(state.install_id, self._random.choice(self._world.customers.ids()))

    def _lead(self) -> None:
        self._world.add_lead({}, None)
