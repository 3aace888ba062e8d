"""Addresses of the pages inside the Airflow UI, and the buttons that lead there from a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink, conf
from airflow.sdk.execution_time.xcom import XCom

from enerflo_sync.addresses import DEFAULT_ACCOUNT, Addresses, Place

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

APP_PREFIX = "/enerflo"
# The route of the reports page inside the Airflow UI.
UI_ROUTE = "enerflo-reports"
# The route of the tab on a DAG run's page.
RUN_UI_ROUTE = "enerflo-report"
# Tasks whose plan is the subject of their run's later tasks.
PLAN_TASKS = ("make_plan", "find_plan")
_TO = Addresses()


def base_path() -> str:
    """Return the path under which Airflow is served, without a trailing slash: ``""`` for the root."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def page_address(path: str) -> str:
    """Return the address of a page of the reports app inside the Airflow UI's own frame."""
    base = base_path()
    return f"{base}/plugin/{UI_ROUTE}{base}{APP_PREFIX}{path}"


def ui_address(account: str, reconciliation_id: str | None = None) -> str:
    """Return the address of a report inside the Airflow UI's own frame."""
    if reconciliation_id is None:
        return page_address(_TO.of(Place.REPORTS, account))
    return page_address(_TO.report(account, reconciliation_id))


def run_address(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page inside the Airflow UI's own frame."""
    return page_address(f"/run?{urlencode({'dag_id': dag_id, 'run_id': run_id})}")


def account_of_dag(dag_id: str) -> str:
    """Return the account of one of our DAGs by its name."""
    _, _, account = dag_id.partition("__")
    return account or DEFAULT_ACCOUNT


class _PlaceLink(BaseOperatorLink):
    """A button from a task, even a failed one, to a page of its account."""

    place: Place

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address."""
        return page_address(_TO.of(self.place, account_of_dag(ti_key.dag_id)))


class FreshnessLink(_PlaceLink):
    """A button from a task that reads Enerflo to the page of freshness: which lists were read, and when."""

    name = "Freshness"
    place = Place.FRESHNESS


class InboxLink(_PlaceLink):
    """A button from a task that resolves items to the account's inbox."""

    name = "Inbox"
    place = Place.INBOX


class OverviewLink(_PlaceLink):
    """Leads from a task that tells people of an account to the account at a glance, inside the Airflow UI."""

    name = "Overview"
    place = Place.OVERVIEW


class RunLink(BaseOperatorLink):
    """Leads from a task of long work to the page that follows its run, inside the Airflow UI."""

    name = "Progress"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address."""
        return run_address(ti_key.dag_id, ti_key.run_id)


class ReportLink(BaseOperatorLink):
    """Leads from a reconciliation task to its report, inside the Airflow UI."""

    name = "Reconciliation report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the report's address; ``""`` (no button) if the task made none."""
        result: Any = XCom.get_value(ti_key=ti_key, key="return_value")
        if not isinstance(result, dict) or "reconciliation_id" not in result:
            return ""
        return ui_address(result["account"], result["reconciliation_id"])


class QualityLink(BaseOperatorLink):
    """Leads from a task to the page of change orders, inside the Airflow UI."""

    name = "Change orders"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address; ``""`` (no button) if the task checked nothing."""
        result: Any = XCom.get_value(ti_key=ti_key, key="return_value")
        if not isinstance(result, dict) or "held" not in result:
            return ""
        return page_address(_TO.of(Place.CHECKS, result["account"]))


def plan_address(account: str, plan_hash: str) -> str:
    """Return the address of a plan inside the Airflow UI's own frame."""
    return page_address(_TO.plan(account, plan_hash))


class PlanLink(BaseOperatorLink):
    """Leads from a task to its plan, inside the Airflow UI."""

    name = "Plan"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the plan's address; ``""`` (no button) if there is none."""
        for task_id in (ti_key.task_id, *PLAN_TASKS):
            result: Any = XCom.get_one(
                key="return_value", task_id=task_id, dag_id=ti_key.dag_id, run_id=ti_key.run_id
            )
            if isinstance(result, dict) and {"account", "plan_hash"} <= result.keys():
                return plan_address(result["account"], result["plan_hash"])
        return ""
