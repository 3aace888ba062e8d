"""A desk at a moment, kept for a test run: what a plan and an apply bring about is copied by later tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from tests.conftest import copy_database, drop_database, keep_database
from tests.kept import copied, name_anew, naming

if TYPE_CHECKING:
    from tests.writes.conftest import Desk

T = TypeVar("T")


@dataclass(frozen=True)
class _KeptDesk:
    """What a desk's database, company and folders hold, and what the step returned."""

    database: str
    folder: Path
    # In the warehouse's addresses of files stands the folder of the desk that was kept.
    named: Path
    addresses: list[sa.Column[str]]
    api: dict[str, Any]
    returned: Any


_kept: dict[tuple[Any, ...], _KeptDesk] = {}


def brought(desk: Desk, step: Callable[..., T], *given: Any) -> T:
    """Bring a desk to where ``step`` brings it, and return what the step returns.

    The first test that asks for it carries the step out, later ones get a copy of what came of it. So the step
    depends on nothing but the desk and what is given, and changes nothing else; until now the desk was only
    configured, or brought somewhere.
    """
    config = desk.context.config_path
    key = (desk.template, config.read_text(), step, given)
    if key in _kept:
        _restore(desk, _kept[key])
    else:
        _kept[key] = _keep(desk, step(desk, *given))
    desk.template = _kept[key].database
    returned: T = copied(_kept[key].returned)
    return returned


def _keep(desk: Desk, returned: Any) -> _KeptDesk:
    assert desk.api is not None
    folder = desk.folder.with_name(f"{desk.folder.name}-kept")
    addresses = naming(desk.engine, desk.folder)
    desk.engine.dispose()
    name = keep_database(desk.server, str(desk.engine.url.database))
    shutil.copytree(desk.folder, folder)
    api = copied(desk.api.__dict__)
    return _KeptDesk(name, folder, desk.folder, addresses, api, copied(returned))


def _restore(desk: Desk, kept: _KeptDesk) -> None:
    assert desk.api is not None
    name = str(desk.engine.url.database)
    desk.engine.dispose()
    drop_database(desk.server, name)
    copy_database(desk.server, name, kept.database)
    shutil.copytree(kept.folder, desk.folder, dirs_exist_ok=True)
    name_anew(desk.engine, kept.addresses, kept.named, desk.folder)
    desk.api.__dict__.update(copied(kept.api))
    desk.world = desk.api.world
    if (desk.folder / "sync.yaml").exists():
        desk.read_configuration()
