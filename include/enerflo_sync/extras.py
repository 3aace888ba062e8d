"""Packages that only some commands need: each is an extra of this distribution."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from enerflo_sync.errors import ConfigurationError


@contextmanager
def needs_extra(extra: str, package: str, where: str) -> Iterator[None]:
    """Import within what an extra brings along.

    :param package: what people know the missing part by.
    :param where: the command or module that needs it.
    :raises ConfigurationError: it is not installed; the error says how to install it.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"{package} is not installed.", where=where, next_step=f'Install it with "enerflo-sync[{extra}]".'
        ) from error


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Import within as if these packages were not installed, but for those that are loaded already.

    For a package that loads others wherever it finds them, and does without. Another thread cannot import
    them meanwhile.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        # Where a name stands for None, its import raises ImportError.
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
