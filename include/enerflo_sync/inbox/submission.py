"""Parse the signed design in ``deal.projectSubmitted``, which no endpoint returns, for ``submissions``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.event import Body, at, uuid_at
from enerflo_sync.resources.fields import INTEGER, integer, number, rows, text
from enerflo_sync.resources.fingerprint import content_hash, stable_bytes
from enerflo_sync.resources.limits import MOST_MONEY, MOST_PANELS

# -1 means "inputs are missing"; it is not a price (REFERENCE.md §10).
_NO_PRICE = -1
_PRICING = "payload.proposal.pricingOutputs"
_ADDRESS = f"{_PRICING}.deal.projectAddress"
_DESIGNS = ("payload.design", f"{_PRICING}.design")
# In a payload without personal data: what was known of it before.
ERASED = "_enerflo_sync_erased"
# Only these parts define a version; the event's name, initiator and recipient do not.
_VERSION = ("deal", "customer", "proposal", "design")
_MOST_WATTS = 100_000_000
_ZIP_LENGTH = 5


@dataclass(frozen=True)
class Submission:
    """One signed version of a deal's design.

    :param content_hash: identifies the version: digest of the payload's deal, customer, proposal and design,
        without the queries of signed addresses.
    :param values: the columns of ``enerflo.submissions`` that the payload fills.
    :param sources: by column, the path of the value in the payload.
    """

    deal_id: str
    content_hash: str
    values: dict[str, Any]
    sources: dict[str, str]


def read_submission(body: Body) -> Submission:
    """Return the design in a payload.

    The same signed version gets the same ``content_hash`` from ``projectSubmitted`` and ``projectReceived``.
    A version signed again gets another hash as soon as any word differs, such as the address of the signed
    contract. An identical payload counts as a copy, because payloads have neither time nor number.

    :raises BadRecordError: the payload names no deal, or a value is invalid.
    """
    deal_id = uuid_at(body, "payload.deal.id")
    found = _found(body)
    return Submission(
        deal_id=deal_id,
        content_hash=_digest(body, deal_id),
        values={column: value for column, (value, _) in found.items()},
        sources={column: path for column, (value, path) in found.items() if value not in (None, [])},
    )


def submitted_values(body: Body) -> dict[str, Any]:
    """Return what :func:`read_submission` reads for the columns, without the digest of the payload.

    :raises BadRecordError: the payload names no deal, or a value is invalid.
    """
    uuid_at(body, "payload.deal.id")
    return {column: value for column, (value, _) in _found(body).items()}


def _found(body: Body) -> dict[str, tuple[Any, str]]:
    """Return the value of each column with its path."""
    found: dict[str, tuple[Any, str]] = {}
    _modules(body, found)
    _batteries(body, found)
    for column, name in (("gross_cost", "grossCost"), ("net_cost", "netCost")):
        found[column] = _number(body, f"{_PRICING}.{name}", MOST_MONEY)
    found["system_size_watts"] = next(
        (
            value
            for path in (
                *(f"{design}.totalSystemSizeWatts" for design in _DESIGNS),
                f"{_PRICING}.systemSizeWatts",
            )
            if (value := _number(body, path, _MOST_WATTS))[0] is not None
        ),
        (None, ""),
    )
    _address(body, found)
    adders = _adders(body)
    found["adders"] = (adders, f"{_PRICING}.calculatedSystemAdders, calculatedValueAdders")
    return found


def _digest(body: Body, deal_id: str) -> str:
    """Return the version's digest, the same for both events and for any signature of its file addresses."""
    erased = body.get(ERASED)
    if isinstance(erased, dict) and isinstance(erased.get("design"), str):
        return str(erased["design"])
    said = {name: at(body, f"payload.{name}") for name in _VERSION}
    said["deal"] = {**said["deal"], "id": deal_id}
    return content_hash(stable_bytes(msgspec.json.encode(said, order="deterministic")))


def _objects(body: Body, path: str) -> list[Body]:
    holder, _, name = path.rpartition(".")
    parent = at(body, holder)
    return list(rows(parent, name)) if isinstance(parent, dict) else []


def _modules(body: Body, found: dict[str, tuple[Any, str]]) -> None:
    """Sum the panel count over the arrays; if their modules differ, list all module names."""
    found["panel_type"] = found["panel_count"] = (None, "")
    for design in _DESIGNS:
        arrays = _objects(body, f"{design}.arrays")
        if not arrays:
            continue
        counts = [integer(array, "moduleCount", high=MOST_PANELS) or 0 for array in arrays]
        if sum(counts) > MOST_PANELS:
            raise BadRecordError("number_out_of_range", field=f"{design}.arrays.moduleCount")
        names: dict[str, int] = {}
        for array, count in zip(arrays, counts, strict=True):
            module = array.get("module")
            name = _product(module) if isinstance(module, dict) else None
            if name:
                names[name] = names.get(name, 0) + count
        found["panel_count"] = (sum(counts) or None, f"{design}.arrays[].moduleCount, summed")
        found["panel_type"] = (_listed(names), f"{design}.arrays[].module")
        return


def _batteries(body: Body, found: dict[str, tuple[Any, str]]) -> None:
    found["battery_configuration"] = (None, "")
    for design in (*_DESIGNS, f"{_PRICING}.equipmentPricing"):
        names: dict[str, int] = {}
        for battery in _objects(body, f"{design}.batteries"):
            name = _product(battery)
            if name:
                count = integer(battery, "count", high=INTEGER) or integer(battery, "quantity", high=INTEGER)
                names[name] = names.get(name, 0) + (count or 1)
        if names:
            text_of = ", ".join(f"{count} x {name}" for name, count in names.items())
            found["battery_configuration"] = (text_of, f"{design}.batteries[]")
            return


def _product(item: Body) -> str | None:
    """Return manufacturer and model as the product's name; the display name if there is no model."""
    named = text(item, "model") or text(item, "name")
    return " ".join(filter(None, (text(item, "manufacturer"), named))).strip() or None


def _listed(names: dict[str, int]) -> str | None:
    if len(names) < 2:
        return next(iter(names), None)
    return ", ".join(f"{count} x {name}" for name, count in names.items())


def _number(body: Body, path: str, most: float) -> tuple[str | None, str]:
    holder, _, name = path.rpartition(".")
    parent = at(body, holder)
    return (number(parent, name, low=-most, high=most) if isinstance(parent, dict) else None), path


def _address(body: Body, found: dict[str, tuple[Any, str]]) -> None:
    address = at(body, _ADDRESS)
    address = address if isinstance(address, dict) else {}
    lines = [text(address, name) for name in ("line1", "line2", "line3")]
    found["street"] = (", ".join(filter(None, lines)) or None, f"{_ADDRESS}.line1")
    for column, name in (("city", "city"), ("state", "state")):
        found[column] = (text(address, name), f"{_ADDRESS}.{name}")
    code = address.get("postalCode")
    zip_code = text(address, "postalCode")
    if isinstance(code, int | float) and code == int(code):
        # A number has lost its leading zeros (REFERENCE.md §10).
        zip_code = str(int(code)).zfill(_ZIP_LENGTH)
    found["postal_code"] = (zip_code, f"{_ADDRESS}.postalCode")


def _adders(body: Body) -> list[dict[str, Any]]:
    """Return the chosen adders as ``{name, cost, quantity}``, without those merely offered."""
    chosen: Sequence[Body] = [
        adder
        for name in ("calculatedSystemAdders", "calculatedValueAdders")
        for adder in _objects(body, f"{_PRICING}.{name}")
    ]
    listed = []
    for adder in chosen:
        cost = number(adder, "amount", low=-MOST_MONEY, high=MOST_MONEY)
        known = cost is not None and Decimal(cost) != _NO_PRICE
        listed.append(
            {
                "name": text(adder, "displayName") or text(adder, "name"),
                "cost": adder["amount"] if known else None,
                "quantity": integer(adder, "quantity", high=INTEGER) or 1,
            }
        )
    return listed
