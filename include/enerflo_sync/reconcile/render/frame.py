"""What stands around a page's content in Airflow: the bar, with what waits, and what forms must carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enerflo_sync.addresses import Addresses, Place

LABELS: Final[Mapping[Place, str]] = {
    Place.OVERVIEW: "Overview",
    Place.INBOX: "Inbox",
    Place.DIFFERENCES: "Differences",
    Place.PLANS: "Plans",
    Place.CHECKS: "Checks",
    Place.FRESHNESS: "Freshness",
    Place.REPORTS: "Reports",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around one page.

    :param account: the account that the page is about; None on the page of all accounts.
    :param accounts: the accounts that the reader may see.
    :param here: the bar's entry that the page belongs to, None for none of them.
    :param waiting: how many things of the account wait for a person; None where that was not counted.
    :param token: what a form must carry to be believed; empty where the reader may only read.
    :param notice: what a form that was just sent did.
    """

    to: Addresses
    account: str | None = None
    accounts: Sequence[str] = ()
    here: Place | None = None
    waiting: int | None = None
    token: str = ""
    notice: str = ""

    @property
    def may_act(self) -> bool:
        """Return whether the reader may settle things, and not only look at them."""
        return bool(self.token)

    @property
    def entries(self) -> Sequence[tuple[Place, str, str]]:
        """Return the bar's entries with their labels and addresses."""
        if self.account is None:
            return ()
        return [(place, label, self.to.of(place, self.account)) for place, label in LABELS.items()]
