"""The page of the checks: the verdict, pass rates over time, failures, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import sqlalchemy as sa

from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.quality_lists import (
    STATE_LABELS,
    FindingsPage,
    OrdersPage,
    OrderState,
    read_findings,
    read_orders,
)
from enerflo_sync.pages.rates import RateLine, install_rates, order_rates, rate_lines
from enerflo_sync.quality.life_cycle.graph import LifeCycle
from enerflo_sync.quality.life_cycle.store import read_life_cycle
from enerflo_sync.quality.render import life_cycle as histories
from enerflo_sync.quality.render.text import value_words, verdict
from enerflo_sync.quality.report import CheckCount, LifeCycleReport, QualityReport
from enerflo_sync.quality.store import read_report
from enerflo_sync.quality.suite import Severity, Suite
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.warehouse.engine import transaction_time

_LONGEST: Final = 100


class Listing(StrEnum):
    """The lists that the page can show."""

    CHECKS = "checks"
    ORDERS = "orders"
    FINDINGS = "findings"


@dataclass(frozen=True)
class ChecksFilter:
    """What the page should show.

    :param check: the id of a check; None for all.
    :param after: the position after which the page begins: a check and an order, or a finding.
    """

    listing: Listing = Listing.CHECKS
    check: str | None = None
    state: OrderState | None = None
    after: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> ChecksFilter:
        """Return the filter in an address.

        :raises ConfigurationError: a part of it is unknown.
        """
        text = {name: given.get(name, "").strip() for name in ("list", "check", "state", "after")}
        for name, value in text.items():
            if len(value) > _LONGEST or "\0" in value:
                raise _unreadable(name, "cannot be read", "Begin at the page of the checks.")
        for name, words in (("list", Listing), ("state", OrderState)):
            if text[name] and text[name] not in list(words):
                raise _unreadable(name, "is not known", f"Choose one of {', '.join(words)}.")
        listing = Listing(text["list"] or Listing.CHECKS)
        found = cls(
            listing=listing,
            check=text["check"] or None,
            state=OrderState(text["state"]) if text["state"] and listing is Listing.ORDERS else None,
            after=text["after"] or None,
        )
        _ = found.order_position if listing is Listing.ORDERS else found.finding_position
        return found

    @property
    def query(self) -> dict[str, str]:
        """Return the filter as address parameters."""
        listing = None if self.listing is Listing.CHECKS else self.listing
        parts = {"list": listing, "check": self.check, "state": self.state, "after": self.after}
        return {name: str(value) for name, value in parts.items() if value is not None}

    @property
    def order_position(self) -> tuple[str, int] | None:
        """Return the check and the order after which the page begins."""
        check, _, order = (self.after or "").rpartition("/")
        return None if self.after is None else (check, _number(order))

    @property
    def finding_position(self) -> int | None:
        """Return the finding after which the page begins."""
        return None if self.after is None else _number(self.after)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _unreadable("after", "is no position", "Begin at the first page.")
    return int(text)


def _unreadable(name: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {what}.", where="the address", next_step=next_step)


@dataclass(frozen=True)
class ChecksPage:
    """The state of an account's checks, and the page's list.

    :param lines: by check, its pass rate over time; only for the list of checks.
    """

    report: QualityReport
    wanted: ChecksFilter
    lines: Mapping[str, RateLine] = field(default_factory=dict)
    orders: OrdersPage | None = None
    findings: FindingsPage | None = None

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """Return the first and the last time of the lines; None without any."""
        times = [point.at for line in self.lines.values() for point in (line.rates[0], line.rates[-1])]
        return (min(times), max(times)) if times else None

    @property
    def life_cycle(self) -> LifeCycleReport | None:
        """Return the state of the installs' life cycles; None without any."""
        return self.report.life_cycle


def read_checks_page(
    connection: sa.Connection, suite: Suite, life_cycle: LifeCycle, account: str, wanted: ChecksFilter
) -> ChecksPage:
    """Return the account's checks as of the last run; the counts are those of ``enerflo-sync quality``."""
    report = read_report(connection, suite, account, most=0)
    found = read_life_cycle(connection, life_cycle, account, None, most=0)
    page = ChecksPage(msgspec.structs.replace(report, life_cycle=found), wanted)
    match wanted.listing:
        case Listing.ORDERS:
            orders = read_orders(
                connection,
                suite,
                account,
                report.checks,
                check=wanted.check,
                state=wanted.state,
                after=wanted.order_position,
            )
            return replace(page, orders=orders)
        case Listing.FINDINGS:
            findings = read_findings(connection, account, check=wanted.check, before=wanted.finding_position)
            return replace(page, findings=findings)
        case Listing.CHECKS:
            now = transaction_time(connection)
            rates = order_rates(connection, account, now)
            if found is not None:
                rates |= install_rates(connection, account, now, list(life_cycle.checks))
            return replace(page, lines=rate_lines(rates))


_TEMPLATES = {
    Listing.CHECKS: "checks.html.j2",
    Listing.ORDERS: "failing_orders.html.j2",
    Listing.FINDINGS: "findings.html.j2",
}


def render_checks(page: ChecksPage, frame: Frame) -> str:
    """Return the page."""
    report = page.report
    here = frame.to.of(Place.CHECKS, report.account)

    def at(listing: Listing, **parts: str | None) -> str:
        return frame.to.of(
            Place.CHECKS, report.account, **{"list": None if listing is Listing.CHECKS else listing, **parts}
        )

    after = page.orders.after if page.orders else page.findings.after if page.findings else None
    names: dict[str, Any] = {
        "page": page,
        "report": report,
        "histories": report.life_cycle,
        "wanted": page.wanted,
        "here": here,
        "at": at,
        "first": f"{here}?{urlencode(replace(page.wanted, after=None).query)}",
        "next": None if after is None else f"{here}?{urlencode(replace(page.wanted, after=after).query)}",
        "verdict": verdict(report),
        "tone": _tone(report),
        "states": STATE_LABELS,
        "order_checks": sorted(report.checks, key=_gravity),
        "told": _told(page),
        "value": value_words,
        "life_verdict": histories.verdict,
        "not_covered": histories.not_covered,
        "step_words": histories.step_words,
    }
    if page.wanted.listing is Listing.CHECKS and report.life_cycle is not None:
        names |= {
            "history_checks": sorted(report.life_cycle.checks, key=_gravity),
            "shape": histories.picture(report.life_cycle.steps),
            "box_width": histories.BOX_WIDTH,
            "box_height": histories.BOX_HEIGHT,
        }
    return render_page(_TEMPLATES[page.wanted.listing], "enerflo_sync.pages", frame=frame, **names)


def _tone(report: QualityReport) -> Tone:
    if report.held:
        return Tone.BAD
    unread = not report.orders and not report.is_read
    return Tone.UNSURE if report.warned or report.dismissed or report.unchecked or unread else Tone.GOOD


def _gravity(check: CheckCount) -> tuple[bool, bool]:
    return not check.failed, check.severity is Severity.WARN


@dataclass(frozen=True)
class _Told:
    """The meaning of a kind of findings, shown once above their list."""

    check: str
    reason: str
    todo: str


def _told(page: ChecksPage) -> list[_Told]:
    if page.findings is None or page.life_cycle is None:
        return []
    reasons = {one.failing.check: one.failing.reason for one in page.findings.findings}
    todo = {one.check: one.todo for one in page.life_cycle.checks}
    return [_Told(check, reason, todo.get(check, "")) for check, reason in reasons.items()]
