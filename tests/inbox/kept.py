"""An inbox at a moment, kept for a test run: what takes seconds to come about is copied in a tenth of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.conftest import database_url, fresh_database, keep_database
from tests.kept import copied, name_anew, naming

if TYPE_CHECKING:
    from tests.inbox.conftest import Inbox


@dataclass(frozen=True)
class KeptInbox:
    """An inbox as it stood at a moment: what its database, its company and its folders hold."""

    server: str
    database: str
    inbox: Inbox
    # Of the warehouse, in which its files' addresses stand.
    addresses: Sequence[sa.Column[str]]

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Inbox]:
        """Yield an inbox of its own that stands as this one does.

        :param folder: a folder without drop and archive, which get theirs.
        """
        with fresh_database(self.server, self.database) as address:
            engine = warehouse_engine(address)
            kept = self.inbox.folder.parent
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            name_anew(engine, self.addresses, kept, folder)
            found = copied(self.inbox, self.inbox.warehouse, engine)
            found.folder = folder / self.inbox.folder.name
            yield found
            engine.dispose()


def keep_inbox(server: str, live: Callable[[sa.Engine], Inbox]) -> KeptInbox:
    """Return an inbox that ``live`` lets come about in an empty warehouse, to be copied."""
    name = keep_database(server, "migrated")
    engine = warehouse_engine(database_url(server, name))
    inbox = live(engine)
    addresses = naming(engine, inbox.folder.parent)
    engine.dispose()
    return KeptInbox(server, name, inbox, addresses)
