"""A desk whose CRM is in another database: what a person says of ``crm.…`` is said to that one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.copies.conftest import TABLES, Elsewhere
from tests.mirror.conftest import assert_mirror_is_true
from tests.writes.conftest import Desk

# A spelling that the mapping takes for the same is as its policy says.
_ALIKE = {Cause.POLICY, Cause.EQUAL_AFTER_NORMALISATION}
_OF_CRM = re.compile(r"\bcrm\.")


@dataclass
class AwayDesk(Desk):
    """One account whose CRM tables are in another database."""

    other: Elsewhere | None = None

    @property
    def there(self) -> Elsewhere:
        assert self.other is not None
        return self.other

    def sql(self, statement: str, **values: Any) -> list[Any]:
        if not _OF_CRM.search(statement):
            return super().sql(statement, **values)
        rows = self.there.sql(statement, **{name: self.there.given(value) for name, value in values.items()})
        return [{name: self._taken(name, value) for name, value in row.items()} for row in rows]

    def _taken(self, name: str, value: Any) -> Any:
        return json.loads(value) if name == "adders" and isinstance(value, str) else self.there.taken(value)

    def everything(self) -> dict[str, list[str]]:
        """Return each row of the CRM."""
        return {table: sorted(map(repr, self.there.sql(f"select * from crm.{table}"))) for table in TABLES}

    def settled(self) -> None:
        """Assert that the mirror is Enerflo, the CRM as its policy says, and that another round writes nothing."""
        before, received = self.everything(), len(self.world.received)
        run_poll(self.context)
        plan = self.plan()
        assert plan.change_count == 0, self.changes(plan)
        report = run_apply(self.context, plan.plan_hash, approved_by="Pat")
        assert (report.applied, report.handed_over, report.moved, report.parked) == (0, 0, 0, 0)
        assert self.everything() == before
        assert len(self.world.received) == received
        assert_mirror_is_true(self.engine, self.world.truth)
        for table in run_reconcile(self.context, full=True).tables:
            assert {cause for cause, number in table.by_cause.items() if number} <= _ALIKE, table
