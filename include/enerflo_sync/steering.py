"""Characters that steer whoever shows a text, spelled out: on terminals, in pages and in task logs.

Names, notes and statuses are written by people at Enerflo and in the CRM. An escape sequence among them could
rewrite a terminal, and a reversed reading order could show another text than the one that is there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec

# Control characters but tab and line end, and those that turn or hide the reading order.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def shown(text: str) -> str:
    r"""Return ``text`` with what steers a terminal spelled out (``\u001b``); line ends and tabs stay."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shown_json(value: Any, indent: int) -> str:
    """Return a value as JSON that steers no terminal: the escapes are JSON's own, and say the very same."""
    return shown(msgspec.json.format(msgspec.json.encode(value), indent=indent).decode())


def shown_in_page(value: Any) -> Any:
    """Return what a page shows of ``value``; what is markup already was looked at when it was made."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else shown(value)


class ShowingStream:
    """A binary stream for text or JSON in UTF-8 that shows such characters and sends none.

    JSON says the very same: the escapes are JSON's own.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, data: bytes | memoryview) -> int:
        """Write text that may end within a character; return how many bytes were taken."""
        self._out.write(shown(self._decoder.decode(bytes(data))).encode())
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)
