"""An install on which change orders are planted, and the orders that are written for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.state import Adder, ChangeOrderState, InstallState

if TYPE_CHECKING:
    from enerflo_sandbox.company import Company

SIGNED, VOIDED, PENDING = "complete", "voided", "pending"
_HOUR = 3_600


class OrderSite:
    """An install, and the orders that are written for it.

    :param install: may be changed in place; it was last touched a day before the history ended, or earlier.
    :param signed: epoch second at which its orders are signed: after that, and within the history.
    :param now: the company's present moment.
    """

    def __init__(self, world: Company, install: InstallState, signed: int, now: int) -> None:
        self.install, self.signed, self.now = install, signed, now
        self.orders: list[ChangeOrderState] = []
        self._book = world.change_orders

    @property
    def panel(self) -> str:
        """Return the panel type that the install has."""
        return c.PANELS[self.install.panel].name

    @property
    def count(self) -> int:
        """Return the panel count that the install has."""
        return self.install.panel_count

    def order(self, **columns: Any) -> ChangeOrderState:
        """Write an order that adds two panels and is fine, but for ``columns`` of its state."""
        values: dict[str, Any] = {
            "status": SIGNED,
            "created": self.signed - _HOUR,
            "updated": self.signed,
            "signed": self.signed,
            "panel": None,
            "panel_count": (self.count, self.count + 2),
            "battery": None,
            "adders_old": (),
            "adders_new": (),
        }
        order = ChangeOrderState(
            change_order_id=self._book.next_id(),
            install_number=self.install.number,
            creator_id=c.USERS[0].user_id,
            total_cost_old=(self.install.cost_cents or 3_000_000) // 100,
            **(values | columns),
        )
        self._book.add(order)
        self.orders.append(order)
        return order

    def adders(self, *new: Adder, old: tuple[Adder, ...] = (), **columns: Any) -> ChangeOrderState:
        """Write an order about adders alone."""
        return self.order(panel_count=None, adders_old=old, adders_new=new, **columns)
