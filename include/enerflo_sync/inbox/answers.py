"""What a read gave, and whether it is what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from enerflo_sync.enerflo.failures import AuthenticationError, VendorRefusedError
from enerflo_sync.errors import BadRecordError, ContractDriftError, NotFoundError
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.resource import Resource

T = TypeVar("T")

Records = Sequence[bytes | memoryview]


class NotListedError(NotFoundError):
    """Enerflo does not show a record in the form that the mirror keeps: nobody knows its present values."""


@dataclass(frozen=True)
class Answer:
    """What one read gave.

    :param records: by resource, as Enerflo answered.
    :param said: by resource, what is said elsewhere: stored where the mirror does not know the record, or
        where that is an earlier version by the record's own time.
    :param said_later: as ``said``, and stored only where the mirror knows an earlier version.
    :param said_by: where that was said, as a run's report names it.
    :param tells: further needs that the answer serves.
    :param is_whole: False where Enerflo does not give the list that was asked for.
    """

    records: Sequence[tuple[Resource, Records]]
    said: Sequence[tuple[Resource, Records]] = ()
    said_later: Sequence[tuple[Resource, Records]] = ()
    said_by: str = "the payload"
    tells: Sequence[Need] = ()
    install_id: int | None = None
    is_whole: bool = True


def given(read: Callable[[], T]) -> T | None:
    """Return what ``read`` does; None where Enerflo gives it to nobody, not to this key, or as no record.

    :raises AuthenticationError: the key is not accepted.
    """
    try:
        return read()
    except AuthenticationError:
        raise
    except (NotFoundError, VendorRefusedError, ContractDriftError, BadRecordError):
        return None


def record_id_of(resource: Resource, raw: bytes) -> int | None:
    """Return the record's id, None where it has none that can be used."""
    try:
        return resource.record_id(raw)
    except BadRecordError:
        return None


def same_record(resource: Resource, raw: bytes, key: str | None) -> bytes:
    """Return ``raw`` where it is the record of that number; of any number where ``key`` is None.

    :raises BadRecordError: it has no id that can be used, or another one (``another_id``).
    """
    if resource.record_id(raw) != int(key or resource.record_id(raw)):
        raise BadRecordError("another_id", field=resource.id_field)
    return raw
