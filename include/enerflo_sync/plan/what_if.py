"""What-if: the present plan and the decisions of the past days, decided again under another mapping.

Nothing is written and no API is called: the same code that decides every plan runs in transactions that are
rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.plan.what_if_ledger import DecisionDifference, decide_again
from enerflo_sync.plan.what_if_plan import PlanDifference, compare_plans
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

Progress = Callable[[str, int, int], None]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """What would differ under another mapping; values in the samples are masked.

    :param now: how many changes and questions a plan of the present mapping would have now, by outcome.
    :param new: the same counts under the other mapping.
    :param plan: the differences between these two plans, the largest group first.
    :param decided: how many past decisions were decided again.
    :param thinned: when the ledger lost some of the decisions since then, and by which limit.
    :param not_decided: past decisions that do not depend on a field's mapping (rows that were created,
        adopted or undone), counted by rule.
    :param decisions: past decisions whose outcome would have been different, the largest group first.
    """

    account: str
    file: str
    same_mapping: bool
    now: Mapping[str, int]
    new: Mapping[str, int]
    plan: Sequence[PlanDifference]
    since: datetime
    decided: int
    not_decided: Mapping[str, int]
    decisions: Sequence[DecisionDifference]
    thinned: str | None = None

    @property
    def differs(self) -> bool:
        """Return whether any decision would be different."""
        return bool(self.plan or self.decisions)


def what_if(
    engine: sa.Engine,
    config: SyncConfig,
    new: SyncConfig,
    account: str,
    *,
    days: int,
    samples: int = 5,
    progress: Progress | None = None,
) -> WhatIf:
    """Return what would differ if ``new`` were the account's configuration. Writes nothing.

    Both plans see the same snapshot and compare every row. A past decision is decided again from the facts
    that the ledger stores; whether the two values would differ under the new mapping is not checked.

    :param days: how many days back decisions are read.
    :param samples: how many samples of each group are returned.
    :raises ConfigurationError: a mapping does not fit the live tables, or ``new`` has no such account.
    :raises RetriableError: a plan or apply of the account is running, or the warehouse is away.
    """
    new.account(account)
    tick = progress or (lambda _name, _done, _total: None)
    with warehouse_errors("what-if"), engine.connect() as connection, alone(connection, account):
        counts, differences = compare_plans(engine, config, new, account, samples, tick)
        with connection.begin():
            again = decide_again(connection, config, new, account, days, samples)
    values: dict[str, Any] = {**counts, **again}
    return WhatIf(
        account=account,
        file=str(new.file),
        same_mapping=config.hash(account) == new.hash(account),
        plan=differences,
        **values,
    )
