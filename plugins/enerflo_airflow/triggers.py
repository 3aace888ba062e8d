"""Triggers for webhook files in the triggerer: one fires once for a task, one repeatedly for a DAG."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from enerflo_airflow.drops import looks
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError

POLL_INTERVAL = 3.0
# Key of an event's count; an event contains nothing else about the files.
WAITING = "waiting"
PROBLEM = "problem"


class WebhookDropTrigger(BaseTrigger):
    """Fires once, when the drop has enough files or when it permanently cannot be listed.

    Retries a storage that does not answer. The event is ``{"waiting": count}``, or ``{"problem": …}`` with
    the parts of a :class:`ConfigurationError`.

    :param account: name of the account in sync.yaml, which the triggerer reads itself.
    :param min_files: number of files that is enough.
    :param poll_interval: seconds between two listings.
    """

    def __init__(self, account: str, min_files: int = 1, poll_interval: float = POLL_INTERVAL) -> None:
        super().__init__()
        self.account = account
        self.min_files = min_files
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the trigger's class and parameters, without address or secret."""
        return f"{__name__}.{type(self).__name__}", {
            "account": self.account,
            "min_files": self.min_files,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        said = _Troubles(self)
        async for found in looks(self.account, self.poll_interval):
            said.hear(found)
            if isinstance(found, ConfigurationError):
                parts = {"what": found.what, "where": found.where, "next_step": found.next_step}
                yield TriggerEvent({PROBLEM: parts})
                return
            if isinstance(found, frozenset) and len(found) >= self.min_files:
                yield TriggerEvent({WAITING: len(found)})
                return


class WebhookDropEventTrigger(BaseEventTrigger):
    """Fires whenever a file with a new name is in the drop; a DAG receives it through an asset's watcher.

    An event has the number of waiting files and only means "look": Airflow merges events that arrive while
    the DAG runs. A file that stays causes one event only, so an immovable file does not cause runs for ever;
    a vanished name is forgotten. If the drop cannot be listed, the trigger logs that once with the next step,
    and retries with backoff up to a minute. It never ends.

    :param account: name of the account in sync.yaml, which the triggerer reads itself.
    :param poll_interval: seconds between two listings.
    """

    def __init__(self, account: str, poll_interval: float = POLL_INTERVAL) -> None:
        super().__init__()
        self.account = account
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the trigger's class and parameters, without address or secret."""
        return f"{__name__}.{type(self).__name__}", {
            "account": self.account,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each listing with a name that the previous listing lacked."""
        said = _Troubles(self)
        known: frozenset[str] = frozenset()
        async for found in looks(self.account, self.poll_interval):
            said.hear(found)
            if isinstance(found, frozenset):
                new, known = found - known, found
                if new:
                    yield TriggerEvent({WAITING: len(found)})


class _Troubles:
    """Logs why a trigger cannot list the drop: once at the start, and once at the end of the trouble."""

    def __init__(self, trigger: WebhookDropTrigger | WebhookDropEventTrigger) -> None:
        self._log = trigger.log
        self._account = trigger.account
        self._said = ""

    def hear(self, found: frozenset[str] | Exception) -> None:
        """Handle a listing's result."""
        if isinstance(found, Exception):
            # An error that is not ours may contain a signed address in its text.
            text = str(found) if isinstance(found, EnerfloSyncError) else type(found).__name__
            if text != self._said:
                self._log.error("drop_not_readable account=%s %s", self._account, text)
        else:
            text = ""
            if self._said:
                self._log.info("drop_readable_again account=%s", self._account)
        self._said = text
