"""The page of all accounts: one line each, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.verdicts import NewestVerdict, gravity
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.verdict import Tone

PAGE = 50
_LONGEST = 200


@dataclass(frozen=True)
class AccountLine:
    """One account: its newest verdict, or why there is none.

    :param newest: None if the account has no reconciliation, or cannot be read.
    :param failure: why the account's warehouse or configuration cannot be read, and what to do; empty if both
        can.
    :param short: ``failure`` in a few words.
    """

    account: str
    newest: NewestVerdict | None
    failure: str = ""
    short: str = "its warehouse cannot be read now"

    @property
    def tone(self) -> Tone:
        """Return the colour of the line."""
        if self.newest is None:
            return Tone.BAD if self.failure else Tone.UNSURE
        return self.newest.tone

    @property
    def rank(self) -> tuple[int, ...]:
        """Return a sort key that brings the worst line first."""
        if self.newest is not None:
            return gravity(self.newest)
        return (-1,) if self.failure else (1, 1)


@dataclass(frozen=True)
class AccountsPage:
    """One page of the accounts.

    :param found: how many match; :param total: how many there are for the reader.
    :param number: of the page, from 1 on.
    """

    lines: Sequence[AccountLine]
    found: int
    total: int
    tones: Mapping[Tone, int]
    number: int
    query: str
    now: datetime

    @property
    def more(self) -> bool:
        """Return whether another page follows."""
        return self.number * PAGE < self.found


def page_number(text: str) -> int:
    """Return the page number in an address.

    :raises ConfigurationError: the text is not a page number.
    """
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) > 0):
        raise ConfigurationError(
            "page is no number of a page.", where="the address", next_step="Begin at the first page."
        )
    return int(text)


def show_accounts(lines: Sequence[AccountLine], query: str, number: int, now: datetime) -> AccountsPage:
    """Return one page of the accounts whose name contains a text, the worst first."""
    text = query.strip()[:_LONGEST].replace("\0", "")
    found = [line for line in lines if text.casefold() in line.account.casefold()]
    ordered = sorted(found, key=lambda line: (line.rank, line.account))
    begin = (number - 1) * PAGE
    return AccountsPage(
        lines=ordered[begin : begin + PAGE],
        found=len(found),
        total=len(lines),
        tones={tone: sum(line.tone is tone for line in found) for tone in Tone},
        number=number,
        query=text,
        now=now,
    )


def render_accounts(page: AccountsPage, frame: Frame) -> str:
    """Return the page."""
    here = frame.to.accounts()

    def at(number: int) -> str:
        return f"{here}?{urlencode({'q': page.query, 'page': number} if page.query else {'page': number})}"

    return render_page("accounts.html.j2", "enerflo_sync.pages", frame=frame, page=page, here=here, at=at)


def render_card(page: AccountsPage, address: str, frame: Frame) -> str:
    """Return the card for Airflow's home page.

    :param address: the prefix of addresses that leads from Airflow's own frame to our pages.
    """
    return render_page("card.html.j2", "enerflo_sync.pages", page=page, prefix=address, to=frame.to)
