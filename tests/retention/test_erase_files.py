"""An archived file in which somebody is forgotten: the parts of others keep their bytes and positions."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from enerflo_sync.inbox.forgotten_files import Theirs, erased_file
from enerflo_sync.inbox.unpack import Document, unpack
from enerflo_sync.mirror.forgotten import Forgotten
from tests.inbox.conftest import update_install

WHO = Theirs(Forgotten(frozenset({5}), frozenset({1})), ())
EMAIL = b"zyx@canary.example"
BROKEN = b'{"webhook_event": "update_install", "id": 9, "x": tru}'


def mine(**more: Any) -> bytes:
    return msgspec.json.encode(update_install(1, customer={"id": 5, "email": EMAIL.decode()}, **more))


def others(install: int = 2, **more: Any) -> bytes:
    return msgspec.json.encode(update_install(install, **more))


def erased(data: bytes, theirs: Theirs = WHO, most_event: int = 200_000) -> bytes | None:
    return erased_file(data, theirs, most_file=10**7, most_event=most_event)


def parts(data: bytes, most_event: int = 200_000) -> list[tuple[int, bool]]:
    found = unpack(data, most_file=10**7, most_event=most_event)
    return [(part.position, isinstance(part, Document)) for part in found]


def test_a_file_keeps_the_events_of_others() -> None:
    data = mine() + b"\n" + others(note="kept")
    found = erased(data)
    assert found is not None
    assert EMAIL not in found
    assert json.loads(found.splitlines()[0])["id"] == 1
    assert found.splitlines()[1] == others(note="kept")
    packed = erased(gzip.compress(data))
    assert packed is not None
    assert gzip.decompress(packed) == found
    assert erased(data, Theirs(Forgotten(frozenset({9})), ())) is None
    assert erased(found) is None


ENVELOPE = b'{"received_at": "2026-01-01T00:00:00Z", "body": [%s]}'


@pytest.mark.parametrize(
    "data",
    [
        mine() + b"\n\n" + others(note="x" * 300_000) + b"\n" + BROKEN,
        ENVELOPE % b",".join((mine(), others(3), others(4))) + b"\n" + BROKEN + b"\r\n" + others(7) + b"\n",
        ENVELOPE % b",".join((mine(), b"7", others(3))),
        b'{"source": "gateway", "body": [' + mine() + b"," + others(3) + b"]}",
        b" [ " + mine() + b" ,7, " + others(note="x" * 300_000) + b"]",
        BROKEN + b"\n" + mine(),
        b"\xef\xbb\xbf" + others() + b"\n" + mine(),
    ],
)
def test_parts_keep_their_positions_and_the_bytes_of_others_stay(data: bytes) -> None:
    found = erased(data)
    assert found is not None
    assert EMAIL not in found
    assert parts(found) == parts(data)
    # Also when the limit is raised, and an item is replayed.
    assert parts(found, 10**6) == parts(data, 10**6)
    assert (BROKEN in found, b"x" * 300_000 in found) == (BROKEN in data, b"x" * 300_000 in data)


def test_a_part_that_is_no_event_goes_if_it_holds_a_value() -> None:
    theirs = Theirs(WHO.forgotten, (), [EMAIL])
    cut = b'{"webhook_event": "update_customer", "email": "' + EMAIL
    assert erased(cut, theirs) == b""
    assert erased(cut) is None
    data = cut + b"\n" + others()
    found = erased(data, theirs)
    assert found is not None
    assert EMAIL not in found
    assert parts(found) == parts(data)
    assert erased(b"\n".join((cut, mine(note=EMAIL.decode()))), theirs) not in (None, b"")


def test_an_event_that_names_somebody_else_stays_whatever_it_holds() -> None:
    data = others(note=EMAIL.decode())
    assert erased(data, Theirs(WHO.forgotten, (), [EMAIL], lambda body: True)) is None
    assert erased(data, Theirs(WHO.forgotten, (), [EMAIL])) is not None


def test_the_rest_of_an_array_that_was_cut_off_goes_with_the_persons_event() -> None:
    begun = b',{"webhook_event": "update_customer", "email": "' + EMAIL
    data = b"[" + mine() + b"," + others() + begun
    found = erased(data)
    assert found is not None
    assert EMAIL not in found
    assert others() in found
    assert parts(found) == parts(data)
    assert erased(b"[" + others() + begun) is None
    assert erased(b"[" + others() + begun, Theirs(WHO.forgotten, (), [EMAIL])) == b"[" + others()
