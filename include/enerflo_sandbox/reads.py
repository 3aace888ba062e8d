"""The GET endpoints, each with its own paging, envelope and time form (REFERENCE.md §§3-6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import customer_rows, render
from enerflo_sandbox.draw import moment_of
from enerflo_sandbox.exchange import Response, json_answer, raw_answer, refusal
from enerflo_sandbox.seeded import FIRST_CUSTOMER_ID, deal_number_of
from enerflo_sandbox.world import UnknownRecordError, World

Parameters = dict[str, str]
PageOf = Callable[[int, int], tuple[int, list[tuple[bytes, ...]]]]
DEFAULT_PAGE = 25
USERS_PAGE = 100


def whole_number(text: str | None, default: int) -> int:
    """Return a query parameter as PHP would cast it: what is absent or no number gives the default."""
    try:
        return int(text) if text else default
    except ValueError:
        return default


def page_asked_for(parameters: Parameters, size_name: str) -> tuple[int, int]:
    """Return the page that is asked for, from 1, and its size."""
    size = whole_number(parameters.get(size_name), DEFAULT_PAGE)
    page = max(1, whole_number(parameters.get("page"), 1))
    return page, size if size >= 1 else DEFAULT_PAGE


def installs(
    world: World,
    parameters: Parameters,
    signed: Callable[[], Mapping[bytes, bytes]] = dict,
    page_of: PageOf | None = None,
) -> Response:
    """List installs, highest ids first; ``per_page`` has no maximum (REFERENCE.md §3).

    :param signed: gives what stands where the records have marks (``render``), asked once where there is one.
    :param page_of: gives the number of all installs and the pieces of each of a page's, from an offset and a
        size; the present ones without it.
    """
    page, size = page_asked_for(parameters, "per_page")
    total, records = (page_of or _present(world))((page - 1) * size, size)
    pieces = [b'{"total":%d,"results":[' % total]
    for record in records:
        pieces += record
        pieces.append(b",")
    if records:
        said = signed().get
        pieces[-1] = b""
        # Joined in one go: a page of megabytes is neither copied nor searched again.
        pieces = list(map(said, pieces, pieces))
    pieces.append(b"]}")
    return raw_answer(b"".join(pieces))


def _present(world: World) -> PageOf:
    def page_of(offset: int, size: int) -> tuple[int, list[tuple[bytes, ...]]]:
        return len(world.installs), [world.pieces(number) for number in world.installs.page(offset, size)]

    return page_of


def install(world: World, parameters: Parameters, install_id: str) -> Response:
    """Show one install by its integer id."""
    return raw_answer(world.rendered(world.number_of(int(install_id))))


def find_install(world: World, parameters: Parameters, deal_id: str) -> Response:
    """Show the install of a v2 deal uuid, the way to hydrate a submission (REFERENCE.md §6.1)."""
    number = world.installs.number_of_deal(deal_id)
    if number is None:
        raise UnknownRecordError("no install of this deal in this company")
    return raw_answer(world.rendered(number))


def notes(world: World, parameters: Parameters) -> Response:
    """List install notes; ``created_after`` is exclusive, deleted ones are shown (REFERENCE.md §6.3)."""
    after: int | None = None
    if parameters.get("created_after"):
        moment = parse_time(parameters["created_after"])
        if moment is None:
            return refusal(422, "The given data was invalid.", {"created_after": ["is not a date"]})
        after = moment_of(moment)
    positions = world.notes.visible(after)
    page, size = page_asked_for(parameters, "pageSize")
    rows = positions if parameters.get("orderDir") == "asc" else positions[::-1]
    chosen = rows[(page - 1) * size : page * size]
    return _notes_answer(world, chosen, page, math.ceil(len(positions) / size))


def notes_of_install(world: World, parameters: Parameters, install_id: str) -> Response:
    """List one install's notes, newest first, in one page; the read beside the documented POST."""
    positions = world.notes.of_install(world.number_of(int(install_id)))
    return _notes_answer(world, positions[::-1], 1, 1)


def _notes_answer(world: World, positions: list[int], page: int, pages: int) -> Response:
    rows = []
    for position in positions:
        note = world.notes.get(position)
        rows.append(render.note_record(note, world.install_id(note.install_number)))
    return json_answer({"success": True, "page": page, "totalPages": max(1, pages), "notes": rows})


def statuses(world: World, parameters: Parameters) -> Response:
    """List the statuses of the company; another ``company_id`` than the key's has none."""
    company = whole_number(parameters.get("company_id"), c.COMPANY_ID)
    rows = [render.status_record(i, name) for i, name in c.STATUSES.items()]
    return json_answer({"results": rows if company in (c.COMPANY_ID, c.EPC_COMPANY_ID) else []})


def customers(world: World, parameters: Parameters) -> Response:
    """List v1 customer rows, highest ids first: ``{dataCount, data}`` (REFERENCE.md §3)."""
    page, size = page_asked_for(parameters, "pageSize")
    ids = world.customers.ids()
    if parameters.get("search"):
        ids = _search(world, ids, parameters["search"].lower())
    rows = [customer_row(world, customer_id) for customer_id in ids[(page - 1) * size : page * size]]
    return json_answer({"dataCount": len(ids), "data": rows})


def _search(world: World, ids: list[int], words: str) -> list[int]:
    linked = _customer_of_uuid(world, words)
    if linked is not None:
        return [linked]
    found = []
    for customer_id in ids:
        one = world.customers.get(customer_id)
        fields = (one.name, one.email, one.mobile, one.external_id)
        if any(words in field.lower() for field in fields if field):
            found.append(customer_id)
    return found


def customer_row(world: World, customer_id: int) -> render.Record:
    """Return a customer's v1 row with the state of its installs."""
    one = world.customers.get(customer_id)
    states: dict[int, tuple[str, int, int]] = {}
    for deal in one.deals:
        number = world.installs.number_of(deal.install_id) if deal.install_id is not None else None
        if number is not None:
            state = world.installs.get(number)
            states[state.install_id] = (world.status_name(state.status_id), state.created, state.updated)
    return customer_rows.customer_row(one, world.era, states)


def _customer_of_uuid(world: World, uuid: str) -> int | None:
    number = deal_number_of(world.era.seed, uuid, "customer")
    customer_id = None if number is None else FIRST_CUSTOMER_ID + number
    if customer_id is None or not world.customers.exists(customer_id):
        return None
    linked = customer_rows.v2_id(world.customers.get(customer_id), world.era) is not None
    return customer_id if linked else None


def customer(world: World, parameters: Parameters, customer_id: str) -> Response:
    """Show one customer in the v3 form."""
    return json_answer(render.embedded_customer(world.customer(int(customer_id))))


def customer_by_uuid(world: World, parameters: Parameters, uuid: str) -> Response:
    """Show the customer of a v2 uuid in the v3 form, with its v1 id (REFERENCE.md §13.7)."""
    customer_id = _customer_of_uuid(world, uuid)
    if customer_id is None:
        raise UnknownRecordError("no customer of this uuid in this company")
    return json_answer(render.embedded_customer(world.customer(customer_id)))


def change_orders(world: World, parameters: Parameters) -> Response:
    """List change orders, highest ids first: ``{total, results}`` (undocumented, REFERENCE.md §6.6)."""
    page, size = page_asked_for(parameters, "per_page")
    ids = world.change_orders.ids()
    rows = [_change_order(world, i) for i in ids[(page - 1) * size : page * size]]
    return json_answer({"total": len(ids), "results": rows})


def change_order(world: World, parameters: Parameters, change_order_id: str) -> Response:
    """Show one change order."""
    return json_answer(_change_order(world, int(change_order_id)))


def change_orders_of_install(world: World, parameters: Parameters, install_id: str) -> Response:
    """List all change orders of one install as ``{change_orders: [...]}`` (the webhook's key)."""
    ids = world.change_orders.of_install(world.number_of(int(install_id)))
    return json_answer({"change_orders": [_change_order(world, i) for i in ids]})


def _change_order(world: World, change_order_id: int) -> render.Record:
    order = world.change_orders.get(change_order_id)
    if order is None or not world.installs.is_live(order.install_number):
        raise UnknownRecordError(f"no change order {change_order_id} in this company")
    return render.change_order_record(order, world.install_id(order.install_number))


def users(world: World, parameters: Parameters) -> Response:
    """List users; ``pageSize`` is ignored and capped at 100, ``per_page`` is honoured (REFERENCE.md §3)."""
    size = max(1, whole_number(parameters.get("per_page"), USERS_PAGE))
    page = max(1, whole_number(parameters.get("page"), 1))
    rows = [render.user_record(user) for user in c.USERS[(page - 1) * size : page * size]]
    total = len(c.USERS)
    pages = math.ceil(total / size)
    return json_answer(
        {"success": True, "page": page, "totalPages": pages, "dataCount": total, "results": rows}
    )


def offices(world: World, parameters: Parameters) -> Response:
    """List offices: ``{results}``."""
    return json_answer({"results": [render.office_record(at) for at in range(len(c.OFFICES))]})


def authcheck(world: World, parameters: Parameters) -> Response:
    """Say that the key is good (REFERENCE.md §1)."""
    return json_answer({"success": True, "company_id": c.COMPANY_ID})


def parse_time(text: str) -> datetime | None:
    """Return an ISO or ``YYYY-MM-DD[ HH:MM:SS]`` moment, UTC where it has no offset; None if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
