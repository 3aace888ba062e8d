"""A warehouse that was polled, whose CRM tables the drafts recognise."""

from __future__ import annotations

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.draft.draft import Draft, draft
from tests.writes.conftest import Desk, desk, polled_warehouse

__all__ = ["desk", "polled_warehouse"]


def drafted(desk: Desk, role: str = "") -> Draft:
    """Return the draft, as a person with these rights gets it from a transaction that only reads."""
    with desk.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("set transaction read only")
        if role:
            connection.exec_driver_sql(f"set local role {role}")
        return draft(connection)


def use(desk: Desk, text: str) -> None:
    """Let the desk work with a drafted file."""
    path = desk.folder / "sync.yaml"
    path.write_text(text)
    desk.context.config = load_config(path, desk.environ)
    desk.context.config_path = path
    desk.context.__dict__.pop("settings", None)
