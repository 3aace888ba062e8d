"""Open the drops of all accounts; one that cannot be opened keeps the receiver from no other account."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.drop.writer import RETRY_SECONDS, DropWriter, open_writer
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.receiver.settings import Hook


class ClosedDrop:
    """The drop of an account that is left out: it takes nothing, so that senders try again."""

    def put(self, name: str, data: bytes) -> None:
        """Refuse the file.

        :raises RetriableError: always.
        """
        raise RetriableError(
            "the account was left out when the receiver started.",
            where=f"file {name}",
            next_step="Correct what the receiver said then, and start it again.",
            retry_after=RETRY_SECONDS,
        )

    def check(self) -> None:
        """Accept: the service is well, and a balancer must not take it from the other accounts."""

    def free_bytes(self) -> int | None:
        """Return None: there is no storage."""
        return None


class LateDrop:
    """A drop that could not be opened when the receiver started: each use tries again until it is open.

    Its posts are refused until then, so that senders try again.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._drop: DropWriter | None = None

    def put(self, name: str, data: bytes) -> None:
        """Store one file (:meth:`DropWriter.put`)."""
        self._opened().put(name, data)

    def check(self) -> None:
        """Store a trial file (:meth:`DropWriter.check`)."""
        self._opened().check()

    def free_bytes(self) -> int | None:
        """Return the free space (:meth:`DropWriter.free_bytes`); None while it is not open."""
        return None if self._drop is None else self._drop.free_bytes()

    def _opened(self) -> DropWriter:
        if self._drop is None:
            try:
                self._drop = open_writer(self._uri)
            except ConfigurationError as error:
                raise RetriableError(error.what, where=error.where, retry_after=RETRY_SECONDS) from error
        return self._drop


def open_drops(
    hooks: Sequence[Hook], *, all_of_them: bool = False
) -> tuple[dict[str, DropWriter], dict[str, ConfigurationError]]:
    """Return the drops by account, and why some of them are not open yet.

    :param all_of_them: one that cannot be opened is an error.
    :raises ConfigurationError: none can be opened.
    """
    drops: dict[str, DropWriter] = {hook.account: ClosedDrop() for hook in hooks if not hook.drop_uri}
    late: dict[str, ConfigurationError] = {}
    wanted = [hook for hook in hooks if hook.drop_uri]
    for hook in wanted:
        try:
            drops[hook.account] = open_writer(hook.drop_uri)
        except ConfigurationError as error:
            late[hook.account] = error
            if all_of_them or len(late) == len(wanted):
                raise
            drops[hook.account] = LateDrop(hook.drop_uri)
    return drops, late
