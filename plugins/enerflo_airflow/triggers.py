"""What waits in the triggerer for webhook files: once for a task, and for ever for a DAG."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from enerflo_airflow.drops import looks
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError

POLL_INTERVAL = 3.0
# The key of an event's count; an event holds nothing else of the files.
WAITING = "waiting"
PROBLEM = "problem"


class WebhookDropTrigger(BaseTrigger):
    """Fires once, when enough files lie in the drop or when it cannot be looked into for good.

    A storage that does not answer is asked again. The event is ``{"waiting": count}``, or ``{"problem": …}``
    with the parts of a :class:`ConfigurationError`.

    :param account: name of the account in sync.yaml, which the triggerer reads itself.
    :param min_files: how many files are enough.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, account: str, min_files: int = 1, poll_interval: float = POLL_INTERVAL) -> None:
        super().__init__()
        self.account = account
        self.min_files = min_files
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes the trigger from; no address and no secret is in it."""
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
    """Fires whenever a file with a new name lies in the drop; a DAG hears it through an asset's watcher.

    An event says how many files wait, and only means "look": Airflow merges the events that arrive while
    the DAG runs. A file that stays is told once, so one that cannot be moved wakes nobody for ever, and a
    name that is gone is forgotten. A drop that cannot be looked into is logged once, with the next step,
    and tried again later and later, up to once a minute; the trigger itself never ends.

    :param account: name of the account in sync.yaml, which the triggerer reads itself.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, account: str, poll_interval: float = POLL_INTERVAL) -> None:
        super().__init__()
        self.account = account
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes the trigger from; no address and no secret is in it."""
        return f"{__name__}.{type(self).__name__}", {
            "account": self.account,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each look that finds a name which the look before did not."""
        said = _Troubles(self)
        known: frozenset[str] = frozenset()
        async for found in looks(self.account, self.poll_interval):
            said.hear(found)
            if isinstance(found, frozenset):
                new, known = found - known, found
                if new:
                    yield TriggerEvent({WAITING: len(found)})


class _Troubles:
    """Logs what keeps a trigger from looking: once when it begins, and once when it is over."""

    def __init__(self, trigger: WebhookDropTrigger | WebhookDropEventTrigger) -> None:
        self._log = trigger.log
        self._account = trigger.account
        self._said = ""

    def hear(self, found: frozenset[str] | Exception) -> None:
        """Take note of what a look gave."""
        if isinstance(found, Exception):
            # The text of an error that is not ours may hold a signed address.
            text = str(found) if isinstance(found, EnerfloSyncError) else type(found).__name__
            if text != self._said:
                self._log.error("drop_not_readable account=%s %s", self._account, text)
        else:
            text = ""
            if self._said:
                self._log.info("drop_readable_again account=%s", self._account)
        self._said = text
