"""The drop as a process sees it: a real folder, with a boundary at each file operation, and failing disks."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

import msgspec

from enerflo_sandbox.delivery import DropFormat, FileDrop, Headers
from enerflo_sync.clock import Clock
from enerflo_sync.drop.drop import ArchivedFile, Content, DropFile, NotRead
from enerflo_sync.drop.local import LocalDrop
from tests.simulation.process import Boundary, Process

_canonical = msgspec.json.Encoder(order="deterministic")


def content_of(body: bytes | str) -> bytes:
    """Return bytes that are equal for payloads that say the same."""
    return _canonical.encode(msgspec.json.decode(body))


class WatchedDrop:
    """A :class:`LocalDrop` in the hands of one process.

    :param failing: the share of reads and moves that the disk refuses.
    """

    def __init__(self, inner: LocalDrop, process: Process, rng: random.Random, failing: float) -> None:
        self._inner = inner
        self._process = process
        self._rng = rng
        self._failing = failing
        self.uri, self.archive_uri = inner.uri, inner.archive_uri

    @property
    def unlisted(self) -> int:
        return self._inner.unlisted

    def waiting(self) -> Iterator[DropFile]:
        self._process.at(Boundary.LIST)
        found = list(self._inner.waiting())
        self._process.at(Boundary.LISTED)
        yield from found

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        for file in files:
            self._process.at(Boundary.READ)
            if self._rng.random() < self._failing:
                yield NotRead(file, "input/output error")
            else:
                yield from self._inner.read([file], limit)

    def archive_name(self, content: Content, day: date) -> str:
        return self._inner.archive_name(content, day)

    def move(self, content: Content, archived_uri: str) -> str | None:
        self._process.at(Boundary.MOVE)
        if self._rng.random() < self._failing:
            return "permission denied"
        why = self._inner.move(content, archived_uri)
        self._process.at(Boundary.MOVED)
        return why

    def archived(self, before: datetime) -> Iterator[ArchivedFile]:
        return self._inner.archived(before)

    def remove(self, uris: Sequence[str]) -> None:
        self._inner.remove(uris)

    def replace(self, uri: str, data: bytes) -> None:
        self._inner.replace(uri, data)


class Postbox:
    """Where the emitter's webhooks go: files in the drop, and a list of all that was put there.

    :param reused: the share of files that get one of a few names, as writers with fixed names do.
    """

    def __init__(
        self, folder: Path, clock: Clock, rng: random.Random, formats: DropFormat, reused: float
    ) -> None:
        self.folder = folder
        self.delivered: Counter[bytes] = Counter()
        self.first_at: dict[bytes, datetime] = {}
        self.files: Counter[tuple[str, bytes]] = Counter()
        self._clock = clock
        self._rng = rng
        self._reused = reused
        self._seen: set[str] = set()
        self._writer = FileDrop(folder, clock=clock, formats=formats, rng=rng)

    def send(self, body: bytes, headers: Headers) -> str:
        content = content_of(body)
        self.delivered[content] += 1
        self.first_at.setdefault(content, self._clock.now())
        return self._writer.send(body, headers)

    def flush(self) -> frozenset[str]:
        failed = self._writer.flush()
        for entry in sorted(os.scandir(self.folder), key=lambda one: one.name):
            if entry.name not in self._seen:
                self._put(Path(entry.path))
        return failed

    def _put(self, path: Path) -> None:
        """Give a new file its virtual time, now and then another name, and remember it."""
        if self._rng.random() < self._reused:
            # Never over a file that still waits: its writer would have thrown that one away.
            other = path.with_name(f"hook-{self._rng.randrange(3)}{''.join(path.suffixes[-2:])}")
            data = path.read_bytes()
            if not other.exists() and (other.name, data) not in self.files:
                path = path.rename(other)
        moment = self._clock.now().timestamp()
        os.utime(path, (moment, moment))
        self.files[path.name, path.read_bytes()] += 1
        self._seen.add(path.name)


def archived(folder: Path) -> Counter[tuple[str, bytes]]:
    """Return the files below ``folder`` by name and content."""
    return Counter((path.name, path.read_bytes()) for path in folder.rglob("*") if path.is_file())
