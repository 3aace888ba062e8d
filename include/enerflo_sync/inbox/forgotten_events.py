"""Webhook events of customers who were forgotten: stored and archived without personal data."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from enerflo_sync.errors import bad_record
from enerflo_sync.inbox.identify import Identified, identify
from enerflo_sync.inbox.json_text import canonical_json
from enerflo_sync.inbox.kinds import KINDS
from enerflo_sync.inbox.submission import ERASED, read_submission
from enerflo_sync.inbox.unpack import Document, Problem, unpack
from enerflo_sync.mirror.erase import erase
from enerflo_sync.mirror.forgotten import Forgotten, personal_columns
from enerflo_sync.resources.event import Body, Need
from enerflo_sync.resources.registry import ALL

_GZIP = b"\x1f\x8b"
_SUBMISSIONS = "submissions"


def is_of(known: Identified, forgotten: Forgotten) -> bool:
    """Return whether an event is about somebody who was forgotten."""
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
    """Return whether a payload is about somebody who was forgotten, also one that asks for nothing."""
    if is_of(identify(body, ignored), forgotten):
        return True
    # Of an event that is ignored, or that nobody knows, the ids where payloads have them.
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
    number = int(value)
    if "customer" in name.rpartition(".")[2] or name.endswith("customer.id"):
        return number in forgotten.customers
    return "install" in name.rpartition(".")[2] and number in forgotten.installs


def erased_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a payload without personal data: what else is read from it stays.

    The digest of a signed design is kept under a name of its own, since it covers what was erased.
    """
    if ERASED in body:
        return body
    found: dict[str, Any] = erase(body, _kept, _personal)
    return {**found, ERASED: {"design": _design(body)}}


def _design(body: Body) -> str | None:
    kind = KINDS.get(identify(body).event)
    if kind is None or not kind.submission:
        return None
    try:
        return read_submission(body).content_hash
    except Exception:
        # Whoever needs the design quarantines the event: it has no digest of one.
        return None


def _kept(body: Any) -> Any:
    known = identify(body)
    # Of a payload that cannot be identified only its name has to stay.
    return (
        known.event,
        known.state,
        known.record,
        known.install_id,
        known.deal_id,
        _told(known.event, body, 0),
    )


def _personal(body: Any) -> Any:
    return _told(identify(body).event, body, 1)


def _told(event: str, body: Any, which: int) -> list[Any]:
    """Return what readers find in a payload: 0 what has to stay, 1 what is personal."""
    found: list[Any] = []
    kind = KINDS.get(event)
    if kind is not None and kind.submission:
        try:
            values = read_submission(body).values
        except Exception as error:
            values = {"trouble": bad_record(error).what}
        hidden = personal_columns(_SUBMISSIONS)
        found.append({name: values[name] for name in values if (name in hidden) == bool(which)})
    for resource in ALL:
        if resource.payloads is None or event not in resource.payloads.events:
            continue
        try:
            for raw in resource.payloads.records(body):
                for part, rows in zip(
                    resource.parts, resource.rows_by_column(msgspec.json.decode(raw)), strict=True
                ):
                    hidden = personal_columns(str(part.table.name))
                    found.append(
                        [{name: row[name] for name in row if (name in hidden) == bool(which)} for row in rows]
                    )
        except Exception as error:
            found.append(bad_record(error).what)
    return found


def erased_file(
    data: bytes,
    forgotten: Forgotten,
    ignored: Collection[str],
    *,
    values: Sequence[bytes] = (),
    most_file: int,
    most_event: int,
) -> bytes | None:
    """Return an archived file without personal data of who was forgotten; None if it is about none of them.

    Its events stay in their order, one to a line. A part that is no event is left out if it is theirs.

    :param values: a part that holds one of these is theirs too.
    """
    lines, hits = [], 0
    for part in unpack(data, most_file=most_file, most_event=most_event):
        if isinstance(part, Problem):
            theirs = any(value in part.payload for value in values)
            lines.append(b"" if theirs else part.payload.replace(b"\n", b" "))
        else:
            theirs = ERASED not in part.body and (
                any(value in part.canonical for value in values) or is_about(part.body, forgotten, ignored)
            )
            lines.append(_line(part, erased_body(part.body) if theirs else part.body))
        hits += theirs
    if not hits:
        return None
    text = b"\n".join(lines)
    return gzip.compress(text, mtime=0) if data[:2] == _GZIP and text.strip() else text


def _line(part: Document, body: dict[str, Any]) -> bytes:
    if part.received_at is None:
        return canonical_json(body)
    envelope = {"received_at": part.received_at.isoformat(), "body": body}
    return canonical_json(envelope)
