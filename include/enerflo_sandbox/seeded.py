"""The company's history: every record derived from the seed and its number, so nothing need be stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.draw import Draw
from enerflo_sandbox.state import (
    Adder,
    ChangeOrderState,
    CustomerState,
    Deal,
    InstallState,
    MilestoneDates,
)

DAY = 86_400
HISTORY_DAYS = 730
FIRST_INSTALL_ID = 4_400_001
FIRST_SURVEY_ID = 2_200_001
FIRST_CUSTOMER_ID = 2_500_002
FIRST_CHANGE_ORDER_ID = 1_234_568
FIRST_MILESTONE_ROW_ID = 88_000_001
FIRST_NOTE_ID = 700_101
INSTALL_ID_STEP = 3

# An odd factor has an inverse modulo a power of two, so a deal's uuid leads back to its install.
_DEAL_MODULUS = 1 << 48
_DEAL_FACTOR = 0x9E37_79B9_7F4B
_DEAL_INVERSE = pow(_DEAL_FACTOR, -1, _DEAL_MODULUS)


@dataclass(frozen=True, slots=True)
class Era:
    """How many installs the history holds, its seed, and the epoch second at which it ends."""

    seed: int
    installs: int
    end: int

    @property
    def begin(self) -> int:
        """Return the epoch second of the first install."""
        return self.end - HISTORY_DAYS * DAY

    @property
    def gap(self) -> float:
        """Return the mean seconds between two installs."""
        return (HISTORY_DAYS - 1) * DAY / max(1, self.installs)


@lru_cache(maxsize=1024)
def install_id_of(seed: int, number: int) -> int:
    """Return the id of install ``number``: rising with creation, with gaps as in a shared database."""
    return FIRST_INSTALL_ID + number * INSTALL_ID_STEP + Draw(seed, "id", number).below(INSTALL_ID_STEP)


def install_number_of(seed: int, install_id: int) -> int | None:
    """Return the number of the install with this id, or None if no install can have it."""
    number = (install_id - FIRST_INSTALL_ID) // INSTALL_ID_STEP
    return number if number >= 0 and install_id_of(seed, number) == install_id else None


@lru_cache(maxsize=1024)
def deal_uuid(seed: int, kind: str, number: int) -> str:
    """Return the v2 uuid of record ``number`` of a kind: install, lead (their deals) or customer."""
    head = Draw(seed, f"deal-{kind}", number).hex(20)
    tail = number * _DEAL_FACTOR % _DEAL_MODULUS
    return f"{head[:8]}-{head[8:12]}-5{head[12:15]}-a{head[15:18]}-{tail:012x}"


def deal_number_of(seed: int, deal_id: str, kind: str = "install") -> int | None:
    """Return the number of the seeded install (or record of another kind) whose v2 uuid this is, or None."""
    try:
        number = int(deal_id[-12:], 16) * _DEAL_INVERSE % _DEAL_MODULUS
    except ValueError:
        return None
    return number if deal_uuid(seed, kind, number) == deal_id.lower() else None


def seeded_install(era: Era, number: int) -> InstallState:
    """Return install ``number`` as it stood when the history ended."""
    d = Draw(era.seed, "install", number)
    created = int(era.begin + number * era.gap + d.below(1000) / 1000 * era.gap)
    milestones, stage, touched = _milestones(d, created, era.end)
    panel = d.below(len(c.PANELS))
    count = 12 + d.below(30)
    battery = f"{1 + d.below(3)} x {d.pick(c.BATTERIES)}" if d.below(10) < 4 else None
    has_equipment = not d.one_in(33)
    watts = count * c.PANELS[panel].watts
    cost = watts * (280 + d.below(90)) + d.below(100) + (1_100_000 if battery else 0)
    late = touched + d.below(7 * 24) * 3600 + d.below(3600)
    return InstallState(
        number=number,
        install_id=install_id_of(era.seed, number),
        customer_id=FIRST_CUSTOMER_ID + 2 * number,
        deal_id=deal_uuid(era.seed, "install", number),
        survey_id=FIRST_SURVEY_ID + 2 * number,
        created=created,
        updated=max(created, min(late, era.end)),
        status_id=_status(d, stage),
        office=None if d.one_in(100) else d.below(len(c.OFFICES)),
        agent=None if d.one_in(60) else d.below(len(c.USERS)),
        setter=d.below(len(c.USERS)),
        panel=panel,
        panel_count=count,
        watts=watts,
        inverter=d.below(len(c.INVERTERS)),
        battery=battery if has_equipment else None,
        has_equipment=has_equipment,
        cost_cents=None if d.one_in(50) else cost,
        blank_root=d.one_in(8),
        milestones=milestones,
    )


def _milestones(d: Draw, created: int, end: int) -> tuple[list[MilestoneDates], int, int]:
    length = (30 + d.below(60)) * DAY + d.below(DAY // 2)
    overlaps = d.one_in(4)
    rows: list[MilestoneDates] = []
    stage, touched = 0, created
    for at in range(len(c.MILESTONES)):
        started = created + 3600 + at * length
        completed = started + length - 7200
        if completed <= end:
            rows.append(MilestoneDates(started, started + 30 * DAY, completed))
            stage, touched = at + 1, completed
        elif started <= end or (overlaps and at == stage + 1 and stage > 0):
            begun = min(started, end - 3600)
            rows.append(MilestoneDates(begun, None if d.one_in(5) else begun + 30 * DAY, None))
            touched = max(touched, begun)
        else:
            rows.append(MilestoneDates())
    return rows, stage, touched


def _status(d: Draw, stage: int) -> int:
    roll = d.below(100)
    if roll < 3:
        return c.VOIDED
    if roll < 7:
        return c.CANCELLED
    if stage == len(c.MILESTONES):
        return c.COMPLETED
    if roll < 12:
        return c.ON_HOLD
    return c.PENDING_KCA if roll < 16 else c.IN_PROGRESS


def seeded_customer(era: Era, customer_id: int) -> CustomerState:
    """Return the customer with this id: an even offset belongs to an install, an odd one is a lead."""
    offset = customer_id - FIRST_CUSTOMER_ID
    is_lead, number = bool(offset % 2), offset // 2
    d = Draw(era.seed, "customer", offset)
    first, last = d.pick(c.FIRST_NAMES), d.pick(c.LAST_NAMES)
    city, state, postal, lat, lng = d.pick(c.PLACES)
    status = c.CUSTOMER_STATUSES[d.below(3)] if is_lead else c.SIGNED_CUSTOMER
    place = number if not is_lead else number * 5
    created = int(era.begin + place * era.gap) - (2 + d.below(20)) * DAY
    return CustomerState(
        customer_id=customer_id,
        number=offset,
        first_name=first,
        last_name=last,
        email=None if d.one_in(20) else f"{first[0].lower()}.customer.{offset}@example.com",
        mobile=f"555{d.below(10)}{d.below(10)}{offset % 100_000:05d}",
        address=f"{100 + d.below(9000)} {d.pick(c.STREETS)}",
        city=city,
        state=state,
        zip=postal,
        lat=lat,
        lng=lng,
        external_id=lead_key(offset) if d.below(10) < 7 else None,
        lead_source=d.pick(("enzy", "web", "")),
        status_id=status[0],
        status_name=status[1],
        created=created,
        updated=min(created + d.below(30) * DAY + d.below(DAY // 2), era.end),
        office=d.below(len(c.OFFICES)),
        owner=d.below(len(c.USERS)),
        setter=d.below(len(c.USERS)),
        deals=[] if is_lead else [_deal(era.seed, number, last)],
    )


def _deal(seed: int, number: int, last: str) -> Deal:
    deal_id = deal_uuid(seed, "install", number)
    return Deal(deal_id, FIRST_SURVEY_ID + 2 * number, f"{last} residence", install_id_of(seed, number))


def lead_key(offset: int) -> str:
    """Return the CRM's own id for a seeded customer, the ``integration_record_id`` of lead/add."""
    return f"LEAD-{offset:07d}"


def has_seeded_change_order(seed: int, number: int) -> bool:
    """Return True for about one install in eight."""
    return Draw(seed, "ordered", number).one_in(8)


def seeded_change_order(era: Era, install: InstallState) -> ChangeOrderState:
    """Return the change order of an install's history.

    The new side of a signed one is what the install has now; one that is not in force changed nothing, so
    there it is the old side.
    """
    d = Draw(era.seed, "change-order", install.number)
    roll = d.below(20)
    status = "complete" if roll < 16 else "pending" if roll < 19 else "voided"
    created = max(min(install.created + (3 + d.below(40)) * DAY, era.end - DAY), install.created)
    signed = min(created + 3600 * (1 + d.below(20)), era.end) if status == "complete" else None
    other_panel = c.PANELS[(install.panel + 1) % len(c.PANELS)].name
    panel = (other_panel, c.PANELS[install.panel].name)
    count = (install.panel_count - 2, install.panel_count)
    battery: tuple[str | None, str | None] = (None, install.battery)
    if status != "complete":
        panel, count = panel[::-1], (install.panel_count, install.panel_count + 2)
        battery = (install.battery, f"3 x {c.BATTERIES[0]}")
    old, new = draw_adders(d)
    return ChangeOrderState(
        change_order_id=FIRST_CHANGE_ORDER_ID + 2 * install.number,
        install_number=install.number,
        creator_id=c.USERS[d.below(len(c.USERS))].user_id,
        status=status,
        created=created,
        updated=signed or created,
        signed=signed,
        panel=panel if d.one_in(3) else None,
        panel_count=count if d.below(3) else None,
        battery=battery if install.battery and d.below(3) else None,
        adders_old=old,
        adders_new=new,
        total_cost_old=(install.cost_cents or 3_000_000) // 100,
    )


def draw_adders(d: Draw) -> tuple[tuple[Adder, ...], tuple[Adder, ...]]:
    """Return the adders of both sides of an order; an inactive one stands unchanged on both."""
    chosen = [c.ADDERS[(d.below(len(c.ADDERS)) + at) % len(c.ADDERS)] for at in range(1 + d.below(2))]
    unique = {adder_id: (adder_id, name, cost) for adder_id, name, cost in chosen}
    new = [Adder(*row, quantity=1 + d.below(2)) for row in unique.values()]
    old = [Adder(new[0].adder_id, new[0].name, new[0].cost, 1)] if d.one_in(3) else []
    if d.one_in(4):
        idle = Adder(995, "Trenching", 500, 1, active=False)
        new.append(idle)
        old.append(idle)
    return tuple(old), tuple(new)
