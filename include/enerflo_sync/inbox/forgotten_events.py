"""Webhook events of forgotten customers: stored and archived without personal data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from enerflo_sync.errors import bad_record
from enerflo_sync.inbox.identify import Identified, identify
from enerflo_sync.inbox.kinds import KINDS
from enerflo_sync.inbox.submission import ERASED, read_submission, submitted_values
from enerflo_sync.mirror.erase import erase
from enerflo_sync.mirror.forgotten import Forgotten, personal_columns
from enerflo_sync.resources.event import Body, Need
from enerflo_sync.resources.registry import ALL
from enerflo_sync.resources.resource import Resource

_SUBMISSIONS = "submissions"
# Returns the values of a payload that must stay, and the personal ones.
_Reader = Callable[[Any], tuple[Any, Any]]


def is_of(known: Identified, forgotten: Forgotten) -> bool:
    """Return whether an event is about a forgotten customer."""
    ids: dict[str, Any] = {"install_id": known.install_id, "deal_id": known.deal_id}
    if forgotten.owns(ids):
        return True
    if known.record is None:
        return False
    need = Need.of(known.record)
    if not need.key.isdigit():
        return need.key in forgotten.uuids
    number = int(need.key)
    if need.subject.startswith("customer") or need.subject.startswith("appointments"):
        return number in forgotten.customers
    return need.subject.startswith("install") and number in forgotten.installs


def is_about(body: Body, forgotten: Forgotten, ignored: Collection[str]) -> bool:
    """Return whether a payload is about a forgotten customer, even if its event needs no read."""
    if is_of(identify(body, ignored), forgotten):
        return True
    # For an ignored or unknown event, look at all places where payloads have ids.
    return _names_one(body, forgotten)


def _names_one(value: Any, forgotten: Forgotten, name: str = "") -> bool:
    if isinstance(value, Mapping):
        return any(_names_one(one, forgotten, f"{name}.{key}") for key, one in value.items())
    if isinstance(value, list):
        return any(_names_one(one, forgotten, name) for one in value)
    if isinstance(value, str) and len(value) == 36:
        return value.lower() in forgotten.uuids
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value).isdigit():
        return False
    owner = _owner(name)
    if owner == "customer":
        return int(value) in forgotten.customers
    return owner == "install" and int(value) in forgotten.installs


def _owner(name: str) -> str:
    """Return whose id a field holds, by its names: ``customer_id``, ``customer.id``, ``epc_install_id``.

    Other names hold other numbers: ``days_to_install``, ``customer_rating``.
    """
    spelled = name.lower().replace("_", "")
    for owner in ("customer", "install"):
        if spelled.endswith((f"{owner}id", f".{owner}", f"{owner}.id")):
            return owner
    return ""


def erased_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a payload without personal data; other values that are read from it stay.

    The digest of a signed design is stored under a name of its own, since it covers the erased data.
    """
    if ERASED in body:
        return body
    told = _Told(body)
    found: dict[str, Any] = erase(body, told.kept, told.personal)
    return {**found, ERASED: {"design": _design(body)}}


def _design(body: Body) -> str | None:
    kind = KINDS.get(identify(body).event)
    if kind is None or not kind.submission:
        return None
    try:
        return read_submission(body).content_hash
    except Exception:
        # Without a digest, the reader of the design quarantines the event.
        return None


class _Told:
    """What the readers of one event find in its payload."""

    def __init__(self, body: Body) -> None:
        event = identify(body).event
        kind = KINDS.get(event)
        readers: list[_Reader] = [_submission] if kind is not None and kind.submission else []
        readers += [
            partial(_records, one) for one in ALL if one.payloads is not None and event in one.payloads.events
        ]
        # If a reader failed before the erasure, only its reason has to stay.
        self._readers = [one if _reason(one, body) is None else partial(_troubled, one) for one in readers]

    def kept(self, body: Any) -> Any:
        """Return the values that must stay; for a payload that cannot be identified, its name alone.

        :raises BadRecordError: a part cannot be read that could be read before.
        """
        known = identify(body)
        found = [reader(body)[0] for reader in self._readers]
        return known.event, known.state, known.record, known.install_id, known.deal_id, found

    def personal(self, body: Any) -> Any:
        """Return the personal values.

        :raises BadRecordError: a part cannot be read that could be read before.
        """
        return [reader(body)[1] for reader in self._readers]


def _submission(body: Any) -> tuple[Any, Any]:
    return _parted(submitted_values(body), personal_columns(_SUBMISSIONS))


def _records(resource: Resource, body: Any) -> tuple[Any, Any]:
    kept, personal = [], []
    for raw in resource.payloads.records(body) if resource.payloads else ():
        rows_of_parts = resource.rows_by_column(msgspec.json.decode(raw))
        for part, rows in zip(resource.parts, rows_of_parts, strict=True):
            hidden = personal_columns(str(part.table.name))
            parted = [_parted(row, hidden) for row in rows]
            kept.append([row for row, _ in parted])
            personal.append([row for _, row in parted])
    return kept, personal


def _parted(row: Mapping[str, Any], hidden: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {name: row[name] for name in row if name not in hidden},
        {name: row[name] for name in row if name in hidden},
    )


def _reason(reader: _Reader, body: Any) -> str | None:
    """Return why a reader cannot read a payload; None if it can."""
    try:
        reader(body)
    except Exception as error:
        return bad_record(error).what
    return None


def _troubled(reader: _Reader, body: Any) -> tuple[Any, Any]:
    return _reason(reader, body), None
