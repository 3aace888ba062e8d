"""A warehouse in which things happen, and people who are told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.routes import Route
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.notify import NotifyReport, notify
from tests.quality.conftest import Hands, Orders

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
EVERYTHING = "{everybody: {http: {connection: chat}}}"


def config_with(folder: Path, notify: str) -> SyncConfig:
    """Return the shipped configuration with a section notify."""
    shipped = SHIPPED.read_text()
    path = folder / "sync.yaml"
    head, _, _ = shipped.partition("notify:")
    path.write_text(f"{head}\n{shipped[shipped.index('change_orders:') :]}\nnotify: {notify}\n")
    return load_config(path, {})


@dataclass
class People:
    """Whoever is told something; ``told`` is what arrived, in order."""

    engine: sa.Engine
    folder: Path
    clock: Hands = field(default_factory=Hands)
    told: list[Message] = field(default_factory=list)
    deaf: bool = False
    refuses: Callable[[Message], bool] = lambda _: False

    def __post_init__(self) -> None:
        self.config = config_with(self.folder, f"{{routes: {EVERYTHING}}}")
        self.orders = Orders(self.engine, clock=self.clock)

    def routes(self, notify: str) -> None:
        self.config = config_with(self.folder, notify)

    def tell(self, minutes: float = 15) -> list[Message]:
        """Tell what is new some time later, and return what arrived."""
        before = len(self.told)
        self.report(minutes)
        return self.told[before:]

    def report(self, minutes: float = 15) -> NotifyReport:
        self.clock.moment += timedelta(minutes=minutes)
        return notify(self.engine, self.config, "default", self._send, clock=self.clock)

    def _send(self, route: Route, message: Message) -> None:
        if self.deaf or self.refuses(message):
            raise OSError("mail.example.com said 535 secret-password refused")
        self.told.append(message)

    def sql(self, statement: str, **values: Any) -> list[Any]:
        return self.orders.sql(statement, **values)

    @property
    def now(self) -> datetime:
        return self.clock.now()


@pytest.fixture
def people(warehouse: sa.Engine, tmp_path: Path) -> People:
    """People who were asked once before, so that what happens from now on is news."""
    found = People(warehouse, tmp_path)
    assert found.tell() == []
    found.clock.moment += timedelta(minutes=1)
    return found
