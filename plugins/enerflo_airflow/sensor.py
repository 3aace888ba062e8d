"""The sensor that waits for webhook files, for a team's own DAGs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from enerflo_airflow.accounts import DEFAULT_ACCOUNT
from enerflo_airflow.drops import DropWatch
from enerflo_airflow.triggers import PROBLEM, WAITING, WebhookDropTrigger
from enerflo_sync.errors import ConfigurationError


class WebhookDropSensor(BaseSensorOperator):
    """Waits until webhook files are in the account's drop; neither reads nor moves them.

    While deferred it occupies no worker: the triggerer lists the drop. If the drop is missing or may not be
    listed, the task fails with the next step instead of waiting for its time-out.

    :param account: name of the account in sync.yaml.
    :param min_files: number of files to wait for, 1 or more.
    :param deferrable: wait in the triggerer. Off: wait in a worker, by the sensor's ``mode``.
    :param poke_interval: seconds between two listings.
    :return: number of files in the drop.
    """

    template_fields: Sequence[str] = ("account",)
    ui_color = "#f3eee0"

    def __init__(
        self,
        *,
        account: str = DEFAULT_ACCOUNT,
        min_files: int = 1,
        deferrable: bool = True,
        poke_interval: timedelta | float = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        if min_files < 1:
            raise ValueError(f"min_files is at least 1, got {min_files}")
        self.account = account
        self.min_files = min_files
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Return whether the drop has enough files, and how many."""
        waiting = len(DropWatch(self.account).names())
        self.log.info("drop_looked account=%s waiting=%d", self.account, waiting)
        return PokeReturnValue(waiting >= self.min_files, waiting)

    def execute(self, context: Context) -> Any:
        """Return the number of files once there are enough."""
        if not self.deferrable:
            return super().execute(context)
        found = self.poke(context)
        if found:
            return found.xcom_value
        self.defer(
            trigger=WebhookDropTrigger(self.account, self.min_files, self.poke_interval),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """Return the count from the trigger.

        :raises ConfigurationError: the drop cannot be listed.
        """
        if PROBLEM in event:
            raise ConfigurationError(**event[PROBLEM])
        return int(event[WAITING])
