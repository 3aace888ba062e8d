"""Open the drops of all accounts; one that cannot be opened keeps the receiver from no other account."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.receiver.drop import RETRY_SECONDS, ClosedDrop, Drop, open_drop
from enerflo_sync.receiver.settings import Hook


class LateDrop:
    """A drop that could not be opened when the receiver started: each use tries again until it is open.

    Its posts are refused until then, so that senders try again.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._drop: Drop | None = None

    def put(self, name: str, data: bytes) -> None:
        """Store one file (:meth:`Drop.put`)."""
        self._opened().put(name, data)

    def check(self) -> None:
        """Store a trial file (:meth:`Drop.check`)."""
        self._opened().check()

    def free_bytes(self) -> int | None:
        """Return the free space (:meth:`Drop.free_bytes`); None while it is not open."""
        return None if self._drop is None else self._drop.free_bytes()

    def _opened(self) -> Drop:
        if self._drop is None:
            try:
                self._drop = open_drop(self._uri)
            except ConfigurationError as error:
                raise RetriableError(error.what, where=error.where, retry_after=RETRY_SECONDS) from error
        return self._drop


def open_drops(
    hooks: Sequence[Hook], *, all_of_them: bool = False
) -> tuple[dict[str, Drop], dict[str, ConfigurationError]]:
    """Return the drops by account, and why some of them are not open yet.

    :param all_of_them: one that cannot be opened is an error.
    :raises ConfigurationError: none can be opened.
    """
    drops: dict[str, Drop] = {hook.account: ClosedDrop() for hook in hooks if not hook.drop_uri}
    late: dict[str, ConfigurationError] = {}
    wanted = [hook for hook in hooks if hook.drop_uri]
    for hook in wanted:
        try:
            drops[hook.account] = open_drop(hook.drop_uri)
        except ConfigurationError as error:
            late[hook.account] = error
            if all_of_them or len(late) == len(wanted):
                raise
            drops[hook.account] = LateDrop(hook.drop_uri)
    return drops, late
