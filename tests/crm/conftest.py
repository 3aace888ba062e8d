"""A mapping as text, loaded, or checked against live tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.doctor import Finding, check_mapping
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError


def load(folder: Path, text: str, **environ: str) -> SyncConfig:
    path = folder / "sync.yaml"
    path.write_text(text)
    return load_config(path, environ)


def mistakes(folder: Path, text: str, **environ: str) -> list[str]:
    """Return the lines of the error, each from its line number on."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, **environ)
    return [line.partition("sync.yaml:")[2] for line in str(caught.value).splitlines()]


def check(engine: sa.Engine, folder: Path, text: str, *statements: str, role: str = "") -> list[Finding]:
    """Return what the doctor finds after ``statements``, as a role that may only read."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        connection.exec_driver_sql("set transaction read only")
        if role:
            connection.exec_driver_sql(f"set local role {role}")
        return check_mapping(connection, load(folder, text), "default", Path("sync.yaml"))
