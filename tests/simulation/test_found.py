"""Defects that the simulation found, each as the shortest course that shows it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from enerflo_sync.clock import SystemClock
from enerflo_sync.drop.drop import Content, DropFile, NotRead
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.mirror.calls import CallCounter


class TiredDisk(LocalDrop):
    """A folder whose files can now and then not be read, or not be moved."""

    readable = movable = True

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        if self.readable:
            yield from super().read(files, limit)
        else:
            yield from (NotRead(file, "input/output error") for file in files)

    def move(self, content: Content, archived_uri: str) -> str | None:
        return super().move(content, archived_uri) if self.movable else "permission denied"


def test_a_file_that_was_taken_in_and_cannot_be_read_again_is_not_counted_twice(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "one.json").write_text('{"webhook_event": "update_install", "id": 4400001}')
    drop = TiredDisk(str(tmp_path / "drop"), str(tmp_path / "archive"))
    for readable, movable in ((True, False), (False, True), (True, True)):
        drop.readable, drop.movable = readable, movable
        ingest(
            None,
            warehouse,
            drop,
            "default",
            clock=SystemClock(),
            rng=random.Random(1),
            calls=CallCounter(),
            options=IngestOptions(read_ahead=0),
        )
    with warehouse.connect() as connection:
        assert connection.execute(sa.text("select copies from sync.webhook_events")).all() == [(1,)]
