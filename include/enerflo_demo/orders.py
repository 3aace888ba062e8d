"""The demo's change orders: good and bad ones in the company, and how many of them are held from the CRM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from enerflo_demo.airflow import AirflowApi
from enerflo_sandbox.world import World

CHANGE_ORDERS = "enerflo_change_orders"
# How the change orders of the account stand, among the pages of the reports plugin.
ORDERS_PAGE = "/enerflo/quality/default"


class Orders:
    """The planted change orders of the demo's company, none where it is too small for them.

    :param world: the company, as the sandbox serves it too.
    """

    def __init__(self, world: World) -> None:
        world.plant_orders()
        self.planted = world.planted_orders
        self.serve_options = ["--bad-orders"] if self.planted else []

    @property
    def bad(self) -> int:
        """Return how many of them fail a check."""
        return sum(1 for order in self.planted.values() if order.fails)

    @staticmethod
    def go_on(sandbox_url: str) -> None:
        """Give those that only their history shows to be bad their last status, told by webhooks."""
        answer = requests.post(f"{sandbox_url}/_sandbox/orders", json={"emit": True}, timeout=30)
        answer.raise_for_status()

    @staticmethod
    def check(api: AirflowApi) -> Mapping[str, Any]:
        """Run the DAG once more, and return its counts."""
        run_id = api.trigger(CHANGE_ORDERS)
        api.wait_for_run(CHANGE_ORDERS, run_id)
        counts: Mapping[str, Any] = api.xcom(CHANGE_ORDERS, run_id, "validate")
        return counts
