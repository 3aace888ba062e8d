"""Time-outs of a request, the record of one attempt, and a decoded answer with its cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds after which an attempt is abandoned.

    :param connect: until the connection is established.
    :param read: between two pieces of the answer, and until the first one.
    :param total: for the whole body; this bound also stops a host that sends single bytes slowly.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP attempt, as the ``sync.api_calls`` counters need it.

    :param endpoint: path with ids replaced, ``/api/v3/installs/{id}``.
    :param status: HTTP status, None where no answer came.
    :param seconds: from sending until the last byte.
    :param bytes: body size after decompression.
    :param failed: the attempt gave no usable answer (a 429 counts as failed).
    """

    endpoint: str
    status: int | None
    seconds: float
    bytes: int
    throttled: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decoded answer and what it cost.

    :param requested_at: when the attempt that succeeded was sent, aware UTC.
    :param seconds: how long that attempt took.
    :param attempts: attempts made, failed ones included.
    """

    value: T
    requested_at: datetime
    seconds: float
    attempts: int
