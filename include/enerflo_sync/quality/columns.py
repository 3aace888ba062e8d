"""The facts of a change order that checks use: the columns of ``sync.change_order_facts``.

A column is null if it does not apply, and a check passes null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ColumnKind(StrEnum):
    """The kind of a column's values, which determines the possible rules."""

    NUMBER = "number"
    YES_NO = "yes or no"
    TEXT = "text"
    TIME = "time"


@dataclass(frozen=True)
class FactColumn:
    """One fact: the kind of its value, and its meaning."""

    kind: ColumnKind
    says: str


_N, _B, _T, _W = ColumnKind.NUMBER, ColumnKind.YES_NO, ColumnKind.TEXT, ColumnKind.TIME

COLUMNS: Mapping[str, FactColumn] = {
    "install_id": FactColumn(_N, "The install that the order names."),
    "status": FactColumn(_T, "The order's status as Enerflo writes it, in lower case."),
    "status_kind": FactColumn(_T, "signed, override, pending or voided, by `statuses`; null for others."),
    "signed_at": FactColumn(_W, "When it was signed."),
    "install_here": FactColumn(_B, "The mirror has its install, and it is not deleted."),
    "install_voided": FactColumn(_B, "Its install is voided; of orders in force only."),
    "signed_time_there": FactColumn(_B, "A signed order says when it was signed."),
    "signed_though_pending": FactColumn(_B, "A pending order says when it was signed."),
    "signed_ahead_hours": FactColumn(_N, "Hours by which the signature lies in the future, rounded up."),
    "install_created_at": FactColumn(_W, "When its install was created."),
    "signed_days_after_install": FactColumn(_N, "Days from the install's creation to the signature."),
    "life_cycle": FactColumn(_T, "The last change of its kind of status that was seen: pending > signed."),
    "panel_type_old": FactColumn(_T, "The panel type that it replaces."),
    "panel_type_new": FactColumn(_T, "The panel type that it sets."),
    "panel_type_before": FactColumn(_T, "The panel type that was known before it was signed."),
    "panel_type_known": FactColumn(_B, "`products` lists the new panel type, or another install has it."),
    "panel_type_old_agrees": FactColumn(_B, "The old panel type is the one that was known before."),
    "panel_count_old": FactColumn(_N, "The panel count that it replaces."),
    "panel_count_new": FactColumn(_N, "The panel count that it sets."),
    "panel_count_before": FactColumn(_N, "The panel count that was known before it was signed."),
    "panel_count_old_agrees": FactColumn(_B, "The old panel count is the one that was known before."),
    "panel_count_by_size": FactColumn(
        _N, "System size / module watts, of an install that took the order up."
    ),
    "panel_count_deviation_percent": FactColumn(_N, "How far the new count is from that, in percent."),
    "battery_old": FactColumn(_T, "The battery configuration that it replaces."),
    "battery_new": FactColumn(_T, "The battery configuration that it sets."),
    "battery_before": FactColumn(_T, "The battery configuration that was known before it was signed."),
    "battery_old_agrees": FactColumn(_B, "The old battery configuration is the one that was known before."),
    "battery_count_new": FactColumn(_N, "The number at the beginning of the new battery configuration."),
    "adder_count": FactColumn(_N, "Adders on the new side."),
    "adders_unknown": FactColumn(_T, "Adders that neither `adders` nor another order has, by id."),
    "adders_without_cost": FactColumn(_T, "Active adders of the new side without a cost, by id."),
    "adder_lowest_quantity": FactColumn(_N, "The lowest quantity of an active adder on the new side."),
    "adder_lowest_cost": FactColumn(_N, "The lowest cost of an active adder on the new side."),
    "adder_highest_cost": FactColumn(_N, "The highest cost of an active adder on the new side."),
    "total_change": FactColumn(_N, "What it adds to the contract."),
    "adders_change": FactColumn(_N, "New adders less old ones, cost times quantity."),
    "total_gap": FactColumn(_N, "How far the total change is from that."),
    "components_unknown": FactColumn(_T, "Keys of what it changes that nobody reads."),
    "contradicts": FactColumn(
        _N, "An order in force that sets the same thing, from the same value, otherwise."
    ),
    "voided_took_effect": FactColumn(_B, "A voided order's new value stands on its install all the same."),
}
