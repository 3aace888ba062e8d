"""The demo's second half: a plan that is only shown, people at work, an approval, the writes, silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from enerflo_demo.airflow import AirflowApi
from enerflo_sync.cli.output import console
from enerflo_sync.errors import ConfigurationError

SYNC = "enerflo_sync"
APPROVE = "enerflo_approve"
ASK = "ask_a_person"


class BothWays:
    """Plans and applies in the demo's Airflow.

    :param configuration: the demo's sync.yaml, which its Airflow reads.
    """

    def __init__(self, api: AirflowApi, configuration: Path) -> None:
        self.api, self._configuration = api, configuration

    def configure(self, *edits: tuple[str, str]) -> None:
        """Replace texts of the demo's sync.yaml, each of which is in it.

        :raises ConfigurationError: one is not.
        """
        text = self._configuration.read_text()
        for old, new in edits:
            if old not in text:
                raise ConfigurationError(f"{old} is gone.", where=str(self._configuration))
            text = text.replace(old, new)
        self._configuration.write_text(text)

    def plan_only(self) -> Mapping[str, Any]:
        """Run the DAG in report mode, and return the plan, of which nothing is written."""
        run_id = self.api.trigger(SYNC)
        self.api.wait_for_run(SYNC, run_id)
        found: Mapping[str, Any] = self.api.xcom(SYNC, run_id, "make_plan")
        return found

    def ask(self, seconds: float = 180) -> str:
        """Start the DAG and return the run that asks a person about its plan, of the DAG that asks.

        A run that asks about an earlier plan does not count: the plan of this run supersedes that one.

        :raises ConfigurationError: the plan needs nobody, or no run asks about it in time.
        """
        deadline = time.monotonic() + seconds
        run_id = self.api.trigger(SYNC)
        self.api.wait_for_run(SYNC, run_id, seconds)
        waiting = self.api.xcom(SYNC, run_id, "make_plan")["waiting"] or ""
        while waiting and time.monotonic() < deadline:
            for run in self.api.runs(APPROVE):
                asks = run["state"] == "running" and run["dag_run_id"].startswith(f"ask_{waiting[:16]}_")
                if asks and self.api.task_state(APPROVE, run["dag_run_id"], ASK) == "awaiting_input":
                    return str(run["dag_run_id"])
            time.sleep(0.5)
        raise ConfigurationError(
            "nobody was asked.", where=f"{SYNC} {run_id}", next_step="Look at the run in the Airflow UI."
        )

    def answer(self, run_id: str, option: str, how: Callable[[], None] | None = None) -> None:
        """Answer as the signed-in user does in the UI, as often as the run asks, and return when it ended.

        :param how: gives the answer; by Airflow's API where None.
        """
        by_api = partial(self.api.answer, APPROVE, run_id, ASK, option)
        self.api.answer_as_often_as_asked(APPROVE, run_id, ASK, how or by_api)

    def planned(self, run_id: str) -> Mapping[str, Any]:
        """Return the plan that a run asks about."""
        found: Mapping[str, Any] = self.api.xcom(APPROVE, run_id, "find_plan")
        return found

    def applied(self, run_id: str) -> Mapping[str, Any]:
        """Return what a run wrote that had asked before."""
        found: Mapping[str, Any] = self.api.xcom(APPROVE, run_id, "apply_plan")
        return found

    def show(self, plan: Mapping[str, Any]) -> None:
        """Print a plan's summary."""
        for line in str(plan["summary"]).splitlines():
            console.print(f"  {line}", markup=False)


def plan_page(plan_hash: str) -> str:
    """Return the path of a plan of the account ``default``."""
    return f"/enerflo/plans/default/{plan_hash}"
