"""What a test run keeps of a warehouse and a company at a moment, to copy them for each test."""

from __future__ import annotations

import copy
import copyreg
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from enerflo_sync.warehouse.schema import metadata

# Nobody holds a lock of a company at rest: its copy has a new one.
copyreg.pickle(type(threading.Lock()), lambda _: (threading.Lock, ()))  # type: ignore[arg-type,return-value]
copyreg.pickle(type(threading.RLock()), lambda _: (threading.RLock, ()))  # type: ignore[arg-type,return-value]


T = TypeVar("T")


def copied(kept: T, before: object = None, now: object = None) -> T:
    """Return a copy of what is kept, all the way down, in which ``now`` stands for ``before``."""
    return copy.deepcopy(kept, {} if before is None else {id(before): now})


def naming(engine: sa.Engine, folder: Path) -> list[sa.Column[str]]:
    """Return the warehouse's columns in which a folder's name occurs, as in addresses of archived files."""
    with engine.connect() as connection:
        return [
            column
            for table in metadata.sorted_tables
            for column in table.columns
            if isinstance(column.type, sa.Text)
            and connection.scalar(sa.select(sa.exists().where(column.contains(str(folder), autoescape=True))))
        ]


def name_anew(engine: sa.Engine, columns: Sequence[sa.Column[str]], folder: Path, now: Path) -> None:
    """Let columns name a folder's copy instead of the folder."""
    with engine.begin() as connection:
        for column in columns:
            moved = sa.func.replace(column, str(folder), str(now))
            connection.execute(sa.update(column.table).values({column: moved}))
