"""What another mapping would do: the plan of now, and the decisions of the past days, decided again by it.

Nothing is written and nobody is called: the code that decides every plan runs here in transactions that are
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

    :param now: how many changes and questions a plan would have at this moment, by outcome.
    :param new: the same under the other mapping.
    :param plan: where those two plans differ, the largest group first.
    :param decided: how many decisions of the past were decided again.
    :param not_decided: those that no mapping of a field decides, by rule: rows created, adopted, undone.
    :param decisions: which of them would have been decided otherwise, the largest group first.
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

    @property
    def differs(self) -> bool:
        """Return whether anything would be decided otherwise."""
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

    Both plans see the same moment and compare every row. A decision of the past is decided again from the
    facts that it was made from: whether the two values differed at all is not asked again.

    :param days: how far back decisions are looked at, counted from now.
    :param samples: how many of each group are shown.
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
