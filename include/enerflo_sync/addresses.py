"""The addresses of the pages in Airflow. They are a contract, and are imported where little may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlencode

# The account whose DAGs carry no name of an account.
DEFAULT_ACCOUNT = "default"
# Stands for a whole record among the fields of an address.
WHOLE = "(record)"


class Place(StrEnum):
    """The entries of the bar, and the first part of their addresses."""

    OVERVIEW = "overview"
    INBOX = "inbox"
    DIFFERENCES = "differences"
    PLANS = "plans"
    CHECKS = "quality"
    FRESHNESS = "freshness"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the pages; they are a contract (``docs/pages.md``).

    :param root: the path under which the pages are served, without a slash at its end.
    """

    root: str = ""

    def accounts(self) -> str:
        """Return the address of the list of accounts."""
        return f"{self.root}/accounts"

    def style(self, version: str) -> str:
        """Return the address of the file that says how pages look; another one with each version of it."""
        return f"{self.root}/style.css?v={version}"

    def of(self, place: Place, account: str, **query: str | None) -> str:
        """Return the address of an entry of the bar; a query's parts that are None are left out."""
        return self._at(place, account, **query)

    def differences(
        self,
        account: str,
        *,
        table: str | None = None,
        field: str | None = None,
        cause: str | None = None,
        run: str | None = None,
    ) -> str:
        """Return the address of the differences, of a table, a field or a cause alone.

        :param field: a CRM column, or :data:`WHOLE`.
        :param run: the reconciliation that found them; None for the newest.
        """
        return self._at(Place.DIFFERENCES, account, table=table, field=field, cause=cause, run=run)

    def record(self, account: str, table: str, key: str) -> str:
        """Return the address of a record.

        :param table: a name of ``sync.yaml``, or a kind of records in the singular.
        :param key: the CRM key's values joined by ``/``, or ``enerflo:<id>``, as on the command line.
        """
        return self._at("record", account, table, key)

    def search(self, account: str, text: str | None = None) -> str:
        """Return the address of a search, or of the page to search from."""
        return self._at("search", account, q=text)

    def plan(self, account: str, plan_hash: str) -> str:
        """Return the address of one plan."""
        return self._at(Place.PLANS, account, plan_hash)

    def report(self, account: str, reconciliation_id: str) -> str:
        """Return the address of one stored report."""
        return self._at(Place.REPORTS, account, reconciliation_id)

    def run(self, dag_id: str, run_id: str) -> str:
        """Return the address of the page of one DAG run."""
        return self._at("run", dag_id=dag_id, run_id=run_id)

    def _at(self, *parts: str, **query: str | None) -> str:
        path = "/".join((self.root, *(quote(part, safe="") for part in parts)))
        given = {name: value for name, value in query.items() if value is not None}
        return f"{path}?{urlencode(given)}" if given else path
