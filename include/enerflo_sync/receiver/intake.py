"""Handle one post, from its headers to a file in the drop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from enerflo_sync.clock import Clock
from enerflo_sync.drop.writer import RETRY_SECONDS, DropWriter
from enerflo_sync.errors import RetriableError
from enerflo_sync.receiver.access import is_signed
from enerflo_sync.receiver.body import check_headers, is_packed, read_body, unpacked
from enerflo_sync.receiver.envelope import file_name, kept_headers, sealed, sealed_as_sent
from enerflo_sync.receiver.outcomes import PostOutcome, RefusedError
from enerflo_sync.receiver.settings import Hook, ReceiverSettings

logger = logging.getLogger(__name__)

BODY_SECONDS = 20.0
STORE_SECONDS = 20.0
WAIT_SECONDS = 10.0
# Bodies in memory at once, and posts that may queue; both bound memory.
MOST_AT_ONCE = 32
MOST_WAITING = 1_000
_THREADS = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored post.

    :param name: the file's name in the drop.
    :param size: bytes of the body as sent.
    """

    name: str
    size: int


class Intake:
    """Takes posts of many senders concurrently and stores those of each account in its drop.

    :param drops: each account's drop.
    :param rng: source of the random part of file names.
    """

    def __init__(
        self, settings: ReceiverSettings, drops: Mapping[str, DropWriter], clock: Clock, rng: random.Random
    ) -> None:
        self._settings = settings
        self._drops = drops
        self._clock = clock
        self._rng = rng
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._waiting = 0
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="drop")
        self._without = frozenset({settings.secret_header, settings.hmac_header})

    async def take(self, hook: Hook, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> Stored:
        """Return when the post is durable in the drop.

        :param headers: names in lower case.
        :param chunks: the body as it arrives; read only at this post's turn, so the sender has to wait.
        :raises RefusedError: the post is refused; the error says why.
        """
        check_headers(headers, self._settings.max_bytes)
        await self._wait_for_turn()
        try:
            body = await read_body(chunks, self._settings.max_bytes, BODY_SECONDS)
            signature = headers.get(self._settings.hmac_header, "")
            if hook.hmac_keys and not is_signed(hook.hmac_keys, signature, body):
                raise RefusedError(PostOutcome.BAD_SIGNATURE, "The signature does not fit the body.")
            return await self._store(hook, headers, body)
        finally:
            self._turns.release()

    def close(self) -> None:
        """Wait for the files that are being written."""
        self.threads.shutdown(wait=True, cancel_futures=True)

    async def _wait_for_turn(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise RefusedError(PostOutcome.OVERLOADED, "Too many posts wait.", RETRY_SECONDS)
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise RefusedError(PostOutcome.OVERLOADED, "Too many posts wait.", RETRY_SECONDS) from None
        finally:
            self._waiting -= 1

    async def _store(self, hook: Hook, headers: Mapping[str, str], body: bytes) -> Stored:
        received_at = self._clock.now()
        name = file_name(received_at, self._rng)
        work = asyncio.get_running_loop().run_in_executor(
            self.threads, self._seal_and_put, hook, name, received_at, headers, body
        )
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await work
        except TimeoutError:
            # The file may still arrive. Then the sender's retry is a copy, which the inbox detects.
            logger.error("drop too slow account=%s id=%s", hook.account, name)
            raise RefusedError(
                PostOutcome.NOT_STORED, "It could not be stored in time.", RETRY_SECONDS
            ) from None
        except RetriableError as error:
            logger.error("drop failed account=%s id=%s %s", hook.account, name, error)
            raise RefusedError(PostOutcome.NOT_STORED, "It could not be stored.", RETRY_SECONDS) from None
        return Stored(name, len(body))

    def _seal_and_put(
        self, hook: Hook, name: str, received_at: datetime, headers: Mapping[str, str], body: bytes
    ) -> None:
        kept = kept_headers(headers, without=self._without)
        plain = unpacked(body, self._settings.max_bytes) if is_packed(headers) else body
        if plain is None:
            data = sealed_as_sent(received_at, hook.account, kept, body)
        else:
            data = sealed(received_at, hook.account, kept, plain)
        self._drops[hook.account].put(name, data)
