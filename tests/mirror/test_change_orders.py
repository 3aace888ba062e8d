"""Change orders whose components stand where the configuration says, also once it says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.change_orders import ComponentKeys, change_orders_resource
from enerflo_sync.resources.fingerprint import raw_hash, stable_bytes
from tests.mirror.conftest import Company

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
READ = b'{"id":7,"epc_install_id":1,"change_values":{"solar_module":{"old":"A","new":"B"}}}'
ANY = b'{"id":8,"epc_install_id":1,"change_values":{}}'
DECLARED = ComponentKeys(panel=("panel", "solar_module"))


def take(warehouse: sa.Engine, keys: ComponentKeys, minutes: int) -> Batch:
    at = Observation("default", AT + timedelta(minutes=minutes), "poll", f"poll:{minutes}")
    with warehouse.begin() as connection:
        return Intake(change_orders_resource(keys)).take(connection, [READ, ANY], at)


def test_an_order_is_read_again_once_when_a_key_is_declared(warehouse: sa.Engine) -> None:
    take(warehouse, ComponentKeys(), 0)
    tally = take(warehouse, DECLARED, 1).tally
    assert (tally.applied, tally.unchanged) == (1, 1)
    with warehouse.connect() as connection:
        query = sa.text("select panel_type_new, unknown_components, observed_at from enerflo.change_orders")
        rows = [tuple(row) for row in connection.execute(query)]
    # The other order says what it said: it was first seen when it was.
    assert sorted(rows, key=str) == [("B", None, AT + timedelta(minutes=1)), (None, None, AT)]
    assert take(warehouse, DECLARED, 2).changed == {}
    assert list(take(warehouse, ComponentKeys(), 3).changed) == [7, 8]


def test_the_default_keys_written_out_are_the_default_keys(warehouse: sa.Engine) -> None:
    take(warehouse, ComponentKeys(), 0)
    written_out = ComponentKeys(panel=["panel", "panel_type", "panels", "module"], ignored=[])
    assert take(warehouse, written_out, 1).changed == {}
    with warehouse.connect() as connection:
        stored = set(connection.scalars(sa.text("select raw_hash from enerflo.change_orders")))
    # Nothing tells them: what was stored before keys could be declared is known.
    assert stored == {raw_hash(stable_bytes(raw)) for raw in (READ, ANY)}


def test_a_poll_reads_all_orders_again_when_their_keys_change(company: Company) -> None:
    company.poll()
    counted = "select count(panel_count_new) from enerflo.change_orders"
    assert company.rows(counted) != [(0,)]
    keys = ComponentKeys(panel_count=("elsewhere",))
    company.poll(PollResource.CHANGE_ORDERS, component_keys=keys)
    assert company.rows(counted) == [(0,)]
    report = company.poll(PollResource.CHANGE_ORDERS, component_keys=keys)
    assert report.applied == 0
    assert company.poll(PollResource.INSTALLS, component_keys=keys).applied == 0
