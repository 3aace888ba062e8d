"""Remove external ids from the addresses in urllib3's log lines: one may be an e-mail address.

At DEBUG, urllib3 logs each request line, and an external id stands in the path. It also warns of the whole
address where an answer's headers cannot be parsed.
"""

from __future__ import annotations

import logging
import re

_KEY = re.compile(r"(/sobjects/\w+/\w+/|/query\?q=)[^?\s]+")


class _WithoutKeys(logging.Filter):
    """Cuts the external id out of a log record's arguments; passes every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _KEY.sub(r"\1***", one) if isinstance(one, str) else one for one in record.args
            )
        return True


_FILTER = _WithoutKeys()


def log_no_keys() -> None:
    """Stop urllib3 in this process from logging external ids; idempotent."""
    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(_FILTER)
