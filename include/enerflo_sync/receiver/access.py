"""Who may post: one secret per account, and a signature if a gateway adds one."""

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
    """Admits a post to an account's hook if it has the account's secret.

    An unknown account costs the same comparisons as a known one, so neither the answer nor its time
    distinguishes them.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = {hook.account: hook for hook in hooks}
        self._digests = {
            name: [_digest(secret) for secret in hook.secrets] for name, hook in self._hooks.items()
        }
        # As many as the account with the most digests has. No hook belongs to these, so they admit nothing.
        self._closed = [b"\0" * 32] * max(map(len, self._digests.values()), default=1)

    def admits(self, account: str, offered: str) -> Hook | None:
        """Return the account's hook; None for an unknown account or a wrong secret."""
        candidates = self._digests.get(account, self._closed)
        return self._hooks.get(account) if _any_equal(candidates, _digest(offered)) else None


def is_signed(keys: Sequence[str], signature: str, body: bytes) -> bool:
    """Return whether ``signature`` is the HMAC-SHA-256 of ``body`` under one of ``keys``.

    :param signature: hex or base64, with or without ``sha256=`` before it.
    :param body: the bytes as sent, before decompression.
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
    """Return bytes of fixed length, so that a comparison does not reveal a secret's length."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _any_equal(candidates: Iterable[bytes], given: bytes) -> bool:
    """Compare with every candidate in constant time, even after a match."""
    # A list: a generator would stop at the first match.
    return any([hmac.compare_digest(candidate, given) for candidate in candidates])  # noqa: C419
