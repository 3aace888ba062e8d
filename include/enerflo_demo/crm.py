"""Where the demo's CRM is, in the warehouse or in a database of its own, and what people do in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_demo.airflow import connection
from enerflo_demo.crm_elsewhere import move_crm
from enerflo_demo.mariadb import mariadb_url, private_mariadb, require_mariadb
from enerflo_sync.copies.database import CrmConnections, crm_engine
from enerflo_sync.errors import ConfigurationError

CALLED_BACK = "demo-note-1"
_ACCOUNT = "    airflow: {enerflo_connection"

_EDITED_NOW = """
select (key ->> 'enerflo_install_id')::bigint from sandbox.planted_differences
where table_name = 'installs' and cause = 'in_flight'
"""
_WORKED_ON = """
select e.install_id from enerflo.installs e
where e.account = 'default' and e.status_name = 'In progress' and e.deleted_at is null
  and not exists (select from sandbox.planted_differences p
                  where (p.key ->> 'enerflo_install_id')::bigint = e.install_id)
order by 1 limit 200
"""

# What the CRM's users do, in words that every database takes.
# A difference that stays as an earlier report found it would not be in flight.
_EDIT = (
    "update crm.installs set panel_count = panel_count + 1, updated_at = now()"
    " where enerflo_install_id in :ids"
)
_CHOOSE = """
select min(enerflo_install_id) from crm.installs where status = 'In progress' and enerflo_install_id in :ids
"""
_HOLD = "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :id"
_SAY = """
insert into crm.notes (note_id, enerflo_install_id, author, body, created_at, updated_at)
values (:note, :id, 'Ann Smith', 'Customer asked to wait for the HOA.', now(), now())
"""
_CHOOSE_LEAD = "select min(lead_id) from crm.leads where enerflo_customer_id is null"
_QUALIFY = "update crm.leads set status = 'qualified', updated_at = now() where lead_id = :lead"


class CrmPlace(StrEnum):
    """Where the demo's CRM tables are."""

    WAREHOUSE = "warehouse"
    MARIADB = "mariadb"
    DUCKDB = "duckdb"

    @property
    def label(self) -> str:
        """Return how people call it."""
        return {"warehouse": "the warehouse", "mariadb": "MariaDB", "duckdb": "DuckDB"}[self]


class DemoCrm(ABC):
    """The CRM of the demo's company.

    :param warehouse: in which the CRM's tables were made.
    """

    def __init__(self, warehouse: sa.Engine) -> None:
        self._warehouse = warehouse
        self._way = CrmConnections(self.engine)

    @abstractmethod
    def engine(self) -> sa.Engine:
        """Return an engine on the CRM's tables."""

    def take_over(self) -> None:
        """Let the CRM's tables be there, where they are not in the warehouse."""
        move_crm(self._warehouse, self._way.engine)

    def configured(self, text: str) -> str:
        """Return a sync.yaml that names the CRM's database.

        :raises ConfigurationError: the account's section has another form.
        """
        if _ACCOUNT not in text:
            raise ConfigurationError("accounts.default.airflow is gone.", where="include/config/sync.yaml")
        return text.replace(_ACCOUNT, f"    crm: {{connection: crm_default}}\n{_ACCOUNT}", 1)

    @abstractmethod
    def environ(self) -> Mapping[str, str]:
        """Return the Airflow connection by which DAGs reach the CRM, as an environment variable."""

    @property
    def address(self) -> str:
        """Return the URL of the CRM's database, as ``accounts.*.crm`` takes it."""
        return self._way.engine.url.render_as_string(hide_password=False)

    def edit_in_flight(self) -> None:
        """Let the CRM's users be at work at this moment on the rows that are planted to be in flight."""
        self._do(_EDIT, ids=self._ids(_EDITED_NOW))

    def people_work(self) -> int:
        """Let an install be put on hold, a note written and a lead qualified; return the install."""
        install_id: int = self._do(_CHOOSE, ids=self._ids(_WORKED_ON))
        self._do(_HOLD, id=install_id)
        self._do(_SAY, id=install_id, note=CALLED_BACK)
        self._do(_QUALIFY, lead=self._do(_CHOOSE_LEAD))
        return install_id

    def _ids(self, query: str) -> list[int]:
        with self._warehouse.connect() as warehouse:
            return list(warehouse.scalars(sa.text(query)))

    def _do(self, statement: str, **values: Any) -> Any:
        """Run a statement, and return its value if it has one."""
        text = sa.text(statement)
        if "ids" in values:
            text = text.bindparams(sa.bindparam("ids", expanding=True))
        with self._way.connected("working in the demo's CRM") as theirs:
            result = theirs.execute(text, values)
            found = result.scalar_one() if result.returns_rows else None
            theirs.commit()
        return found


class InWarehouse(DemoCrm):
    """The CRM's tables are in the warehouse, as where a copy tool brings them."""

    def engine(self) -> sa.Engine:
        """Return the warehouse's own engine."""
        return self._warehouse

    def take_over(self) -> None:
        """Leave the tables where they are."""

    def configured(self, text: str) -> str:
        """Return the sync.yaml as it is."""
        return text

    def environ(self) -> Mapping[str, str]:
        """Return nothing: DAGs have the warehouse's connection."""
        return {}


class InDuckDB(DemoCrm):
    """The CRM's tables are in a DuckDB file."""

    def __init__(self, warehouse: sa.Engine, home: Path) -> None:
        super().__init__(warehouse)
        # Named like the schema, the file would make crm.installs mean two things.
        self._file = home / "company.duckdb"

    def engine(self) -> sa.Engine:
        """Return an engine on the file."""
        return crm_engine(f"duckdb:///{self._file}")

    def environ(self) -> Mapping[str, str]:
        """Return a connection of the type duckdb."""
        return {"AIRFLOW_CONN_CRM_DEFAULT": connection("duckdb", schema=str(self._file))}


class InMariaDB(DemoCrm):
    """The CRM's tables are in a private MariaDB.

    :param stack: ends the server.
    """

    def __init__(self, warehouse: sa.Engine, home: Path, stack: ExitStack) -> None:
        super().__init__(warehouse)
        self._socket = stack.enter_context(private_mariadb(home))

    def engine(self) -> sa.Engine:
        """Return an engine on the server."""
        return crm_engine(mariadb_url(self._socket))

    def environ(self) -> Mapping[str, str]:
        """Return a connection of the type mysql."""
        way = connection("mysql", host="localhost", login="root", extra={"unix_socket": str(self._socket)})
        return {"AIRFLOW_CONN_CRM_DEFAULT": way}


def open_crm(place: CrmPlace, warehouse: sa.Engine, home: Path, stack: ExitStack) -> DemoCrm:
    """Return the CRM with its tables where they are to be; what it starts ends with ``stack``.

    :raises ConfigurationError: its database is not installed, or does not start.
    """
    crm: DemoCrm
    if place is CrmPlace.MARIADB:
        crm = InMariaDB(warehouse, home, stack)
    else:
        crm = InDuckDB(warehouse, home) if place is CrmPlace.DUCKDB else InWarehouse(warehouse)
    crm.take_over()
    return crm


def require_installed(place: CrmPlace) -> None:
    """Return when the database of the CRM can be opened.

    :raises ConfigurationError: it is not installed; the text says how to.
    """
    if place is CrmPlace.MARIADB:
        require_mariadb()
    if place is CrmPlace.DUCKDB:
        crm_engine("duckdb://").dispose()
