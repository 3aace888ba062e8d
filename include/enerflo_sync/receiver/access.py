"""Who may post: a secret per account, and a signature where a gateway makes one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from enerflo_sync.receiver.settings import Hook

_HEX_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


class Gate:
    """Opens an account's hook to whoever offers its secret.

    An unknown account costs the same comparisons as a known one, so neither the answer nor its time tells
    them apart.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = {hook.account: hook for hook in hooks}
        self._digests = {
            name: [_digest(secret) for secret in hook.secrets] for name, hook in self._hooks.items()
        }
        # As many as the account with most: they open nothing, since no hook stands behind them.
        self._closed = [b"\0" * 32] * max(map(len, self._digests.values()), default=1)

    def admits(self, account: str, offered: str) -> Hook | None:
        """Return the account's hook, or None: no such account, or not its secret."""
        candidates = self._digests.get(account, self._closed)
        return self._hooks.get(account) if _any_equal(candidates, _digest(offered)) else None


def is_signed(keys: Sequence[str], signature: str, body: bytes) -> bool:
    """Return whether ``signature`` is the HMAC-SHA-256 of ``body`` under one of ``keys``.

    :param signature: hex or base64, with or without ``sha256=`` before it.
    :param body: the bytes as they were sent, before any unpacking.
    """
    given = _signature_bytes(signature.strip().removeprefix("sha256="))
    expected = [hmac.digest(key.encode(), body, "sha256") for key in keys]
    return _any_equal(expected, given)


def _signature_bytes(text: str) -> bytes:
    if _HEX_DIGEST.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _digest(text: str) -> bytes:
    """Return bytes of one length, so that a comparison cannot tell how long a secret is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _any_equal(candidates: Iterable[bytes], given: bytes) -> bool:
    """Compare with every candidate, whichever fits, in constant time."""
    # A list: a generator would stop at the first that fits.
    return any([hmac.compare_digest(candidate, given) for candidate in candidates])  # noqa: C419
