"""A plan's questions in groups of one table, field and reason, each with the time since when it is asked.

The groups are stored in the plan's row, so that listing them is cheap, however many records they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.plan.parked import HELD_BACK

# If there are more groups than this, all questions of a field become one group.
_MOST_GROUPS: Final = 200
SEVERAL: Final = "several reasons"

# The name of a group, the same in every plan. A group of several reasons has the reason '' in it.
GROUP = "left(md5(table_name || '|' || coalesce(field, '') || '|' || {reason}), 16)"
# Parked changes and quarantined records are listed elsewhere and are no questions.
IS_QUESTION = f"refusal_id is null and cause <> 'quarantined' and not starts_with(reason, '{HELD_BACK}')"

NEWEST = """
  select plan_hash, created_at, summary from sync.plans
  where account = :account and kind = 'sync' and part = 1 order by created_at desc limit 1"""

_BEFORE = sa.text(f"""
/* enerflo-sync plan: the questions of the plan before */
select summary -> 'questions' from ({NEWEST}) p
""")  # noqa: S608 - a constant

_GROUPS = f"""
with found as (
  select {GROUP.format(reason="reason")} as name, table_name, field, reason, min(cause) as cause,
         count(*) as questions, min(position) as first
  from sync.plan_undecided
  where account = :account and plan_hash = :plan_hash and {IS_QUESTION}
  group by table_name, field, reason
), groups as (
  select * from found where (select count(*) from found) <= :most
  union all
  select {GROUP.format(reason="''")}, table_name, field, :several, min(cause), sum(questions), min(first)
  from found where (select count(*) from found) > :most group by table_name, field
)
select jsonb_build_object('name', g.name, 'table_name', g.table_name, 'field', g.field, 'reason', g.reason,
  'cause', g.cause, 'questions', g.questions, 'first', g.first,
  'since', coalesce(b.since, to_jsonb(now()) #>> '{{}}')) as one
from groups g left join jsonb_to_recordset(cast(:before as jsonb)) b(name text, since text) using (name)
"""  # noqa: S608 - constants

_NOTE = sa.text(f"""
/* enerflo-sync plan: what it leaves to a person, in groups */
update sync.plans set summary = summary || jsonb_build_object('questions', coalesce(
  (select jsonb_agg(one) from ({_GROUPS}) g), '[]'))
where account = :account and plan_hash = :plan_hash
""").bindparams(sa.bindparam("before", type_=JSONB))  # noqa: S608 - a constant


class QuestionGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of one table and field with one reason.

    :param name: identifies the group, also in the next plan.
    :param field: None for questions about whole records.
    :param first: the position of its first question in the plan.
    :param since: when a plan asked the first of these questions.
    """

    name: str
    table_name: str
    field: str | None
    reason: str
    cause: str
    questions: int
    first: int
    since: datetime


def question_groups(summary: Mapping[str, Any]) -> Sequence[QuestionGroup]:
    """Return the groups that are stored with a plan; a plan of an earlier version has none."""
    return msgspec.convert(summary.get("questions", []), list[QuestionGroup])


def asked_before(connection: sa.Connection, account: str) -> Sequence[Mapping[str, Any]]:
    """Return the groups of the newest plan, for :func:`note_questions` of the next one."""
    return connection.scalar(_BEFORE, {"account": account}) or []


def note_questions(
    connection: sa.Connection, account: str, plan_hash: str, before: Sequence[Mapping[str, Any]]
) -> None:
    """Store a plan's groups of questions; a group that the plan before had keeps its ``since``."""
    values = {"account": account, "plan_hash": plan_hash, "before": before}
    connection.execute(_NOTE, {**values, "most": _MOST_GROUPS, "several": SEVERAL})
