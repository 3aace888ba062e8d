"""Packages that only some commands need: each is an extra of this distribution."""

from __future__ import annotations

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
