"""Addresses in urllib3's log lines, without their queries.

At DEBUG it logs each request line, and a search for a customer has an e-mail or a name in its query.
"""

from __future__ import annotations

import logging


class _WithoutQueries(logging.Filter):
    """Cuts a record's arguments at the first question mark; passes every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_cut(argument) for argument in record.args)
        return True


def _cut(argument: object) -> object:
    return argument.partition("?")[0] if isinstance(argument, str) else argument


_FILTER = _WithoutQueries()


def log_no_queries() -> None:
    """Let urllib3 log no query part from now on, in this process; doing it twice is doing it once."""
    logging.getLogger("urllib3.connectionpool").addFilter(_FILTER)
