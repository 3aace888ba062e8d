"""Remove query strings from the addresses in urllib3's log lines.

At DEBUG, urllib3 logs each request line, and the query of a customer search contains an e-mail or a name.
"""

from __future__ import annotations

import logging


class _WithoutQueries(logging.Filter):
    """Cuts a log record's arguments at the first question mark; passes every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_cut(argument) for argument in record.args)
        return True


def _cut(argument: object) -> object:
    return argument.partition("?")[0] if isinstance(argument, str) else argument


_FILTER = _WithoutQueries()


def log_no_queries() -> None:
    """Stop urllib3 in this process from logging query strings; idempotent."""
    logging.getLogger("urllib3.connectionpool").addFilter(_FILTER)
