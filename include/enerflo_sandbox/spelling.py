"""A vendor that keeps values in a spelling of its own: text is re-spelled, dates lose their time.

Off by default. The kept value shows in the answer of the write and in every later read; with ``echo`` the
answer of the write repeats what was sent, and only a read shows the kept value.
"""

from __future__ import annotations

import html
import random
import re
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from enerflo_sandbox.exchange import Response
from enerflo_sandbox.reads import parse_time

_TEXT_FIELDS = frozenset(("note", "first_name", "last_name", "address", "city", "lead_source"))
_DATE_FIELDS = frozenset(("started_at", "due_at", "completed_at"))
_NAMES = ("html", "blanks", "emoji", "days", "echo", "keys")
_KEY_FIELD = "integration_record_id"
# MySQL's three-byte utf8 holds no character beyond the basic plane.
_EMOJI = re.compile("[\U00010000-\U0010ffff]")
_NAIVE = "%Y-%m-%d %H:%M:%S"


@dataclass
class Spelling:
    """How the vendor keeps what callers send it; the company's own people are not touched by it.

    :param html: text is HTML-escaped, ``&`` becomes ``&amp;``.
    :param blanks: runs of blanks and line breaks become one blank, none is kept at the ends.
    :param cut: the most characters that a text keeps; no limit where None.
    :param emoji: emoji are dropped; a text of nothing else becomes ``?``.
    :param days: a milestone's date keeps its day alone: midnight of ``zone``.
    :param zone: whose day it is; an IANA name.
    :param echo: the answer of a write repeats what was sent; only later reads show what was kept.
    :param keys: a lead's external key is kept in small letters, without blanks around it: each of them.
    :param share: share of the other values, 0 to 1, that are re-spelled; drawn by ``seed`` as they arrive.
    """

    html: bool = False
    blanks: bool = False
    cut: int | None = None
    emoji: bool = False
    days: bool = False
    zone: str = "UTC"
    echo: bool = False
    keys: bool = False
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"the share of re-spelled values must lie between 0 and 1, got {self.share}")
        if self.cut is not None and self.cut < 1:
            raise ValueError(f"a text is cut after 1 character or more, got {self.cut}")
        self._random = random.Random(self.seed)

    def kept(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a write's body as the vendor keeps it, the part under ``lead`` included."""
        return {name: self._kept(name, value) for name, value in body.items()}

    def _kept(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self.kept(value)
        if name == _KEY_FIELD and isinstance(value, str):
            return self.key(value)
        if not isinstance(value, str) or name not in _TEXT_FIELDS | _DATE_FIELDS:
            return value
        if self.share < 1 and self._random.random() >= self.share:
            return value
        return self.text(value) if name in _TEXT_FIELDS else self._date(value)

    def key(self, value: str) -> str:
        """Return a lead's external key as it is kept."""
        return value.strip().lower() if self.keys else value

    def text(self, value: str) -> str:
        """Return a text as it is kept."""
        if self.emoji and value.strip():
            value = _EMOJI.sub("", value)
            value = value if value.strip() else "?"
        if self.blanks:
            value = " ".join(value.split())
        if self.html:
            value = html.escape(value)
        return value if self.cut is None else value[: self.cut]

    def _date(self, value: str) -> str:
        moment = parse_time(value) if self.days else None
        if moment is None:
            return value
        local = moment.astimezone(ZoneInfo(self.zone))
        return local.replace(hour=0, minute=0, second=0, microsecond=0).isoformat()

    def answered(self, answer: Response, sent: dict[str, Any]) -> Response:
        """Return a write's answer, which repeats what was sent where this vendor does so."""
        if not self.echo or answer.status >= 300:
            return answer
        shown = msgspec.json.decode(answer.body)
        if "note" in sent and isinstance(shown.get("note"), dict):
            shown["note"]["note"] = sent["note"]
        elif isinstance(shown.get("data"), dict):
            for name in _DATE_FIELDS & sent.keys():
                moment = parse_time(sent[name]) if sent[name] else None
                shown["data"][name] = None if moment is None else moment.strftime(_NAIVE)
        else:
            return answer
        return replace(answer, body=msgspec.json.encode(shown))


def parse_spelling(
    words: tuple[str, ...], *, zone: str = "UTC", share: float = 1.0, seed: int = 0
) -> Spelling:
    """Return the spelling that words name.

    :param words: each ``html``, ``blanks``, ``cut=60``, ``emoji``, ``days``, ``echo`` or ``keys``.
    :raises ValueError: a word is none of them, or ``cut`` has no number.
    """
    spelling = Spelling(zone=zone, share=share, seed=seed)
    for word in words:
        name, _, number = word.partition("=")
        if name == "cut" and number.isdigit() and int(number) > 0:
            spelling.cut = int(number)
        elif word in _NAMES:
            setattr(spelling, word, True)
        else:
            raise ValueError(f"a spelling is one of {', '.join(_NAMES)} or cut=N, got {word!r}")
    return spelling
