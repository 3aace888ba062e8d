"""Salesforce by an Airflow connection of any type, and the task that goes on with what is open there."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.sdk.exceptions import AirflowSkipException
from enerflo_airflow.accounts import sync_config
from enerflo_airflow.hook import salesforce_login_of
from enerflo_airflow.planning import ApplyPlanOperator

from enerflo_sync.copies.salesforce.api import SalesforceObjectApi
from enerflo_sync.copies.salesforce.session import SalesforceSession
from enerflo_sync.errors import ConfigurationError
from tests.airflow_fixtures import Setting, warehouse_connection
from tests.copies.salesforce.conftest import Office, office, office_warehouse
from tests.copies.salesforce.fake import CLIENT, SECRET, Company, WaitingClock, serving
from tests.writes.conftest import agreed_warehouse, polled_warehouse

__all__ = ["agreed_warehouse", "office", "office_warehouse", "polled_warehouse"]

NAME = "AIRFLOW_CONN_SALESFORCE_DEFAULT"


def connection(**fields: object) -> str:
    return json.dumps({"conn_type": "http", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "acme.my.salesforce.com", "login": CLIENT, "password": SECRET},
        {"host": "https://acme.my.salesforce.com", "login": CLIENT, "password": SECRET},
        # As the Salesforce provider has it.
        {
            "conn_type": "salesforce",
            "login": "pat@acme.com",
            "password": "a person's",
            "extra": {
                "instance_url": "https://acme.my.salesforce.com",
                "consumer_key": CLIENT,
                "consumer_secret": SECRET,
            },
        },
    ],
)
def test_the_connection_says_address_key_and_secret(
    connected: Setting, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setenv(NAME, connection(**fields))
    login = salesforce_login_of(sync_config(), "default")
    assert login.base == "https://acme.my.salesforce.com"
    assert (login.client_id, login.client_secret) == (CLIENT, SECRET)
    assert SECRET not in repr(login)


def test_the_connection_opens_the_company(connected: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    company = Company()
    with serving(company) as url:
        monkeypatch.setenv(NAME, connection(host=url, login=CLIENT, password=SECRET))
        login = salesforce_login_of(sync_config(), "default")
        session = SalesforceSession(login, requests.Session(), WaitingClock(company))
        assert SalesforceObjectApi(session, "Opportunity").describe("here").updateable
    assert company.logins == 1


def test_a_connection_that_is_not_there_or_has_no_host_is_named(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"salesforce_default.*not defined"):
        salesforce_login_of(sync_config(), "default")
    monkeypatch.setenv(NAME, connection(login=CLIENT))
    with pytest.raises(ConfigurationError, match=r"salesforce_default.*no host"):
        salesforce_login_of(sync_config(), "default")


def test_the_task_without_a_plan_goes_on_with_what_is_open(
    office: Office, monkeypatch: pytest.MonkeyPatch, notes: dict[str, str]
) -> None:
    id_ = office.moves(office.install())
    office.company.limit, office.company.used = 100, 100
    office.applied()
    office.company.used = 0
    for name, value in office.desk.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(office.desk.context.config_path))
    monkeypatch.setenv(
        "AIRFLOW_CONN_ENERFLO_WAREHOUSE",
        warehouse_connection(office.desk.engine.url.render_as_string(hide_password=False)),
    )
    monkeypatch.setenv(NAME, connection(host=office.desk.environ["SF_URL"], login=CLIENT, password=SECRET))
    ti = SimpleNamespace(dag_id="enerflo_sync", task_id="apply_plan", run_id="once", map_index=-1)
    context: Any = {"ti": ti}
    task = ApplyPlanOperator(task_id="apply_plan", account="default", plan_hash=None)
    with pytest.raises(AirflowSkipException):
        task.execute(context)
    assert office.company.writes == [("PATCH", id_, {"System_Size__c": 9.99})]
    assert notes == {"apply_plan": "to the CRM: 1 taken · 0 unmade · 0 open"}
