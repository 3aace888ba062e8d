"""The change-order DAG, whole runs in process: exactly the bad order is held, and the page says so."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import everything_kept_in_airflow, result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


def spoil(setting: Setting) -> int:
    """Have one signed order ask for 900 panels, as if Enerflo had said so."""
    engine = warehouse_engine(setting.warehouse_url)
    with engine.begin() as connection:
        order_id = connection.scalar(
            sa.text(
                "update enerflo.change_orders set panel_count_new = 900, observed_at = now()"
                " where change_order_id = (select change_order_id from enerflo.change_orders"
                " where status = 'complete' and panel_count_new is not null order by 1 limit 1)"
                " returning change_order_id"
            )
        )
    engine.dispose()
    assert order_id is not None
    return int(order_id)


def test_good_orders_pass_and_exactly_the_bad_one_is_held(connected: Setting) -> None:
    run("enerflo_poll")
    first = run("enerflo_change_orders")
    assert states(first) == {"judge_and_hold": "success", "validate": "success"}
    found = result(first, "validate")
    assert (found["held"], found["not_validated"]) == (0, 0)
    assert found["checked"] == found["orders"] > 0
    assert str(first.note).startswith(f"0 of {found['orders']} change orders held")
    histories = found["life_cycle"]
    assert histories["looked_at"] >= histories["installs"] > 0
    assert f"{histories['total']:,} life-cycle findings, {histories['new']:,} new" in str(first.note)
    order_id = spoil(connected)
    second = run("enerflo_change_orders")
    found = result(second, "validate")
    assert (found["held"], found["checked"]) == (1, 1)
    assert str(second.note).startswith("1 of ")
    kept = everything_kept_in_airflow(second)
    assert str(order_id) not in kept
    assert "/enerflo/quality/default" in kept
    engine = warehouse_engine(connected.warehouse_url)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("select key from sync.quarantine where kind = 'change_order' and state = 'open'")
        ).scalars()
        assert [json.dumps(key) for key in rows] == [json.dumps({"change_order_id": order_id})]
    engine.dispose()
