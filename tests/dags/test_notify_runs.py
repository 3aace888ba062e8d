"""People are told by the DAGs: a held order by e-mail and by HTTP, once, and a deaf server fails no run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import DAGS
from tests.airflow_fixtures import Setting
from tests.dags.test_change_orders_runs import spoil
from tests.dags.test_runs import run, states
from tests.plugins.test_notifying import Mailbox, Posts, chat, mailbox

__all__ = ["chat", "mailbox"]
pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

ROUTES = """routes:
    ops: {events: [change_order_held, project_submitted], email: {to: [ops@example.com]}}
    chat: {level: warning, http: {connection: chat}}
"""
TELLING = {
    *("enerflo_poll", "enerflo_webhooks", "enerflo_reconcile", "enerflo_sync", "enerflo_change_orders"),
    "enerflo_prune",
}


@pytest.fixture
def told(connected: Setting) -> Setting:
    """The company, with routes."""
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    path.write_text(path.read_text().replace("routes: {}\n", ROUTES))
    return connected


def test_the_dags_tell_people_as_soon_as_there_is_a_route(told: Setting) -> None:
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    assert {name for name, dag in bag.dags.items() if dag.has_task("tell_people")} == TELLING
    for name in TELLING:
        task = bag.dags[name].get_task("tell_people")
        assert task.is_teardown
        assert not task.on_failure_fail_dagrun


def test_a_held_order_is_told_once_on_each_route(told: Setting, mailbox: Mailbox, chat: Posts) -> None:
    assert states(run("enerflo_poll"))["tell_people"] == "success"
    run("enerflo_change_orders")
    before = len(chat.bodies)
    order_id = spoil(told)
    first = run("enerflo_change_orders")
    assert states(first) == {"judge_and_hold": "success", "validate": "success", "tell_people": "success"}
    assert "told 2 messages" in str(first.note)
    ((recipients, mail),) = mailbox.mails
    assert recipients == ["ops@example.com"]
    assert mail["Subject"] == "Enerflo default: 1 change order is held"
    html = mail.get_body(("html",)).get_content()
    assert f"change order {order_id}" in html
    assert "/plugin/enerflo-reports/enerflo/quality/default" in html
    assert chat.bodies[before:][0][1]["text"].startswith("Enerflo default: 1 change order is held\n")
    second = run("enerflo_change_orders")
    assert states(second)["tell_people"] == "success"
    assert len(mailbox.mails) == 1
    assert len(chat.bodies) == before + 1


def test_a_server_that_refuses_fails_the_task_and_not_the_run(
    told: Setting, mailbox: Mailbox, chat: Posts
) -> None:
    run("enerflo_poll")
    run("enerflo_change_orders")
    spoil(told)
    chat.status = 500
    mailbox.mails.clear()
    failed = run("enerflo_change_orders", is_last_try=True)
    assert states(failed)["validate"] == "success"
    assert states(failed)["tell_people"] == "failed"
    assert failed.state == "success"
    assert "could not be sent yet" in str(failed.note)
    # One deaf route holds up no other.
    assert len(mailbox.mails) == 1
    engine = warehouse_engine(told.warehouse_url)
    with engine.connect() as connection:
        error = connection.scalar(
            sa.text("select error from sync.notifications where state = 'pending' limit 1")
        )
    engine.dispose()
    assert "the other side answered 500" in str(error)
    chat.status = 200
    chat.bodies.clear()
    run("enerflo_change_orders")
    assert any("change order is held" in body["text"] for _, body in chat.bodies)
    assert len(mailbox.mails) == 1


def test_the_task_runs_although_what_it_follows_failed(told: Setting, mailbox: Mailbox, chat: Posts) -> None:
    """A wrong key fails the poll at once; what waits in the warehouse is told all the same."""
    run("enerflo_poll")
    engine = warehouse_engine(told.warehouse_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.api_calls (account, endpoint, hour, calls, throttled)"
                " values ('default', '/odd', now(), 100, 50)"
            )
        )
    engine.dispose()
    config = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    config.write_text(
        config.read_text().replace("enerflo_connection: enerflo_default", "enerflo_connection: no")
    )
    failed = run("enerflo_poll")
    assert failed.state == "failed"
    assert states(failed)["read_enerflo"] == "failed"
    assert states(failed)["tell_people"] == "success"
    assert any("requests are refused (429)" in body["text"] for _, body in chat.bodies)
