"""What the receiver refused, in a file of the drop that the inbox passes over and the doctor reads.

The receiver knows no database, and whoever looks for the cause of silence may not reach its log. The note
holds outcomes, numbers and times: nothing of a post.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from enerflo_sync.drop.drop import Content, Drop, DropFile

# Begins with a dot, so that no ingest takes it for a payload.
NAME = ".receiver-refused.json"
_LONGEST = 64 * 1024

_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class Refused(msgspec.Struct, frozen=True):
    """How many posts of one outcome were refused, and when the last one came."""

    posts: int
    last_at: _Aware


class RefusalNote(msgspec.Struct, frozen=True):
    """What one receiver refused of an account's posts.

    :param since: when that receiver started.
    :param took_any: whether it also stored a post of the account since then.
    :param refused: by outcome, as in the receiver's log and metrics.
    """

    since: _Aware
    took_any: bool
    refused: Mapping[str, Refused]

    @property
    def last_at(self) -> datetime:
        """Return when the last post was refused."""
        return max(one.last_at for one in self.refused.values())


def read_refusals(drop: Drop) -> RefusalNote | None:
    """Return the newest note of the receivers that write to the drop; None if there is none to read."""
    file = DropFile(NAME, f"{drop.uri.rstrip('/')}/{NAME}")
    for content in drop.read([file], _LONGEST):
        if isinstance(content, Content):
            try:
                note = msgspec.json.decode(content.data, type=RefusalNote)
            except msgspec.MsgspecError:
                return None
            return note if note.refused else None
    return None


def as_bytes(note: RefusalNote) -> bytes:
    """Return the note as its file holds it."""
    return msgspec.json.encode(note)
