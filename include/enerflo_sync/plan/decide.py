"""Decisions about each mismatched row of a table, made in SQL and stored in the table ``decided``.

A plan uses the same judgement of differences as a reconciliation (:mod:`enerflo_sync.reconcile.judge`). Here
each judgement becomes a change, a question for a person, or a reason to leave both sides as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.decision import BLOCKING_RULES, FACTS, POLICIES, WINNER_RULES, Resolution
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.causes import DUPLICATE_ROWS, cause_of_field, duplicate_sides
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import differing_keys
from enerflo_sync.reconcile.join_columns import stored_join_key
from enerflo_sync.reconcile.judge import judged
from enerflo_sync.reconcile.mismatched import (
    mismatched_statement,
    twice_statement,
    wanted_mismatched_statement,
)
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.values import normal_text, translated
from enerflo_sync.warehouse.statistics import note_growth

DECIDED = "pg_temp.decided"

MAKE_DECIDED = f"""
/* enerflo-sync plan: the decisions about all tables */
create temporary table {DECIDED} (
  outcome text not null, table_name text not null, key jsonb, enerflo_key jsonb, op text not null, field text,
  before jsonb, after jsonb, source_value jsonb, policy text not null, cause text not null,
  rule text not null,
  facts jsonb not null default '[]', reason text, changed_at timestamptz, observed_at timestamptz,
  agreed_at timestamptz, agreed_row text, row_digest text, refusal_id bigint
) on commit drop
"""

_HOW_MANY = f"/* enerflo-sync plan: how many decisions there are */ select count(*) from {DECIDED}"  # noqa: S608

# These causes describe only the present moment; they do not tell whether a change is due.
_NOT_ASKED = (Cause.ON_ITS_WAY, Cause.IN_FLIGHT, Cause.PLANNED)

_KEYS = Template("""
/* enerflo-sync plan $name: keys that differ */
create temporary table $wanted on commit drop as
select $joins from (
  select $mine from $mirror e where false
  $differing
) k group by $joins order by $joins
""")

_UPDATES = Template("""
/* enerflo-sync plan $name: fields of rows that both sides have */
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, facts, reason, changed_at, observed_at, agreed_at, agreed_row)
select r.outcome, $table, o.key, $enerflo_key, 'update', f.field,
       case when r.outcome = 'to_crm' then f.theirs else f.mine end,
       case when r.outcome = 'to_crm' then f.to_crm_value
            when r.outcome = 'to_enerflo' then f.to_enerflo_value end,
       case when r.outcome = 'to_crm' then f.mine else f.theirs end,
       $policy, $cause, coalesce(($blocking_names)[d.blocking + 1], ($winner_names)[d.winner + 1]),
       $facts, r.reason,
       case when y.to_crm then $said_at else o.changed_at end,
       case when y.to_crm then $observed_at else %(now)s end, a.agreed_at, a.ctid::text
from $judged
cross join lateral (
  select case
    when o.quarantined then 'its record stands in quarantine'
    when y.to_enerflo and d.blocking is null and f.unreadable
      then 'the CRM''s value cannot be read as its declared type'
    $no_one_status
    else coalesce(($blocking_words)[d.blocking + 1], ($winner_words)[d.winner + 1]) end as reason,
  case
    when o.quarantined or (y.to_enerflo and d.blocking is null and (f.unreadable $or_no_one_status))
      then 'review'
    else coalesce(($blocking_outcomes)[d.blocking + 1], ($winner_outcomes)[d.winner + 1]) end as outcome
) r
where not f.equal
""")

_UNKNOWN_STATUS = """f.field = $status and not exists (
      select from enerflo.install_statuses s where s.account = %(account)s and s.deleted_at is null
        and s.name = f.to_enerflo_value #>> '{}')"""

# ``values`` may translate two statuses of Enerflo to one word of the CRM; then the word does not tell which
# status to send.
_SEVERAL_STATUSES = Template("""f.field = $status and 1 < (
      select count(*) from enerflo.install_statuses s where s.account = %(account)s and s.deleted_at is null
        and $word = $said)""")

_REPEATED = Template("""
/* enerflo-sync plan $name: keys that more than one row has */
$found
insert into pg_temp.decided (outcome, table_name, key, op, before, source_value, policy, cause, rule, reason)
select 'review', $table, $key, 'update', $mine, $theirs, 'review', 'duplicate_identity',
       'duplicate_identity', 'more than one row has this key'
from $repeated d $sides
""")

# Rows that were matched by their join key although another row has the same key: a write by key could not
# tell them apart.
_SHARED = Template("""with shared as (
  select $keys, count(*) as rows, (
      select jsonb_build_object('rows', count(*), 'keys', jsonb_agg($enerflo_key)) from $mismatched o
      where o.in_crm and o.in_enerflo and $same_row having count(*) > 0) as enerflo
  from $crm t where ($keys) in (select $mismatched_keys from $mismatched o where o.in_crm)
  group by $keys having count(*) > 1
), left_out as (
  delete from $mismatched o using shared d where o.in_crm and $same
)""")


def note_decisions(connection: sa.Connection) -> None:
    """Collect statistics on ``decided``, for the columns by which statements select decisions.

    Without statistics, a statement that makes thousands of changes questions reads the whole table, which
    has no index, once for each change.
    """
    count = connection.exec_driver_sql(_HOW_MANY).scalar_one()
    note_growth(connection, DECIDED, count, "table_name", "op", "outcome", "field")


def prepare(
    connection: sa.Connection, comparison: Comparison, reconciliation_id: str | None, account: str
) -> None:
    """Fill the table's ``mismatched`` with the present values of the rows that differed in a reconciliation.

    All rows are compared if the table is not reconciled (``reconcile``) or if no reconciliation is given.
    """
    values: dict[str, Any] = {"account": account, "previous": reconciliation_id}
    by_reconciliation = comparison.mapping.reconcile and reconciliation_id is not None
    if by_reconciliation:
        keys = _KEYS.substitute(
            name=comparison.name,
            wanted=comparison.wanted,
            joins=comparison.join_names(),
            mine=comparison.select_join("mirror"),
            mirror=comparison.mirror,
            differing=differing_keys(comparison),
        )
        connection.exec_driver_sql(keys, values)
        connection.exec_driver_sql(f"analyze {comparison.wanted}")
        mismatched = wanted_mismatched_statement(comparison, keys=comparison.wanted, first=True)
        connection.exec_driver_sql(mismatched, values)
    else:
        connection.exec_driver_sql(mismatched_statement(comparison), values)
    # Only the columns that select rows are analyzed, because the value columns are many and wide.
    chosen_by = f"{comparison.join_names()}, in_enerflo, in_crm, tombstone, is_mismatched"
    connection.exec_driver_sql(f"analyze {comparison.mismatched} ({chosen_by})")
    _leave_repeated(connection, comparison, by_reconciliation, values)


def _leave_repeated(
    connection: sa.Connection, comparison: Comparison, wanted_only: bool, values: dict[str, Any]
) -> None:
    """Make a question of each join key, and of each key, that more than one row has."""
    common = {"name": comparison.name, "table": literal(comparison.name)}
    if not comparison.unique:
        connection.exec_driver_sql(twice_statement(comparison, wanted_only=wanted_only), values)
        key = stored_join_key(comparison.joins, "d")
        statement = _REPEATED.substitute(
            common,
            found=f"with {duplicate_sides(comparison)}",
            key=key,
            mine="mine.rows",
            theirs=DUPLICATE_ROWS,
            repeated=f"(select distinct {comparison.join_names()} from {comparison.twice})",  # noqa: S608 - a constant
            sides=(
                f"left join theirs on {comparison.on('theirs', 'd')}"
                f" left join mine on {comparison.on('mine', 'd')}"
            ),
        )
        connection.exec_driver_sql(statement, values)
    names = comparison.mapping.key_columns
    if not comparison.mapping.joined_by_key and not comparison.live.unique_by(names):
        found = _SHARED.substitute(
            keys=", ".join(f"t.{quoted(name)}" for name in names),
            crm=comparison.crm_rows,
            mismatched_keys=", ".join(f"o.k{n}" for n, _ in enumerate(names, 1)),
            mismatched=comparison.mismatched,
            same=" and ".join(f"o.k{n} = d.{quoted(name)}" for n, name in enumerate(names, 1)),
            same_row=" and ".join(f"o.k{n} = t.{quoted(name)}" for n, name in enumerate(names, 1)),
            enerflo_key=jsonb_object((name, f"o.p{n}") for n, name in enumerate(comparison.mirror_key, 1)),
        )
        key = comparison.crm_key(f"d.{quoted(name)}" for name in names)
        statement = _REPEATED.substitute(
            common,
            found=found,
            key=key,
            mine="d.enerflo",
            theirs=f"jsonb_build_object('rows', d.rows, 'keys', jsonb_build_array({key}))",
            repeated="shared",
            sides="",
        )
        connection.exec_driver_sql(statement, values)


def decide_updates(connection: sa.Connection, comparison: Comparison, values: dict[str, Any]) -> None:
    """Decide about every field that differs in a row which both sides have.

    :param comparison: of the fields that differ in any row.
    :param values: ``account`` and the parameters of the conditions.
    """
    barred = _no_one_status(comparison)
    connection.exec_driver_sql(
        _UPDATES.substitute(
            name=comparison.name,
            table=literal(comparison.name),
            policy="case " + " ".join(f"when x.{name} then '{name}'" for name in POLICIES) + " end",
            cause=cause_of_field(comparison, *_NOT_ASKED),
            facts=held_facts("x"),
            judged=judged(comparison),
            enerflo_key=_written_key(comparison),
            said_at="least(o.said_at, f.seen_at)" if comparison.is_wide else "o.said_at",
            observed_at="f.seen_at" if comparison.is_wide else "o.observed_at",
            no_one_status="\n    ".join(
                f"when y.to_enerflo and d.blocking is null and {condition} then {literal(reason)}"
                for reason, condition in barred
            ),
            or_no_one_status="".join(f" or {condition}" for _, condition in barred),
            **_texts("winner", [(rule.name, rule.words, rule.outcome) for rule in WINNER_RULES]),
            **_texts("blocking", [(rule.name, rule.words, rule.outcome) for rule in BLOCKING_RULES]),
        ),
        values,
    )


def _no_one_status(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the reasons why a CRM's word is not one status that can be sent, each with its condition."""
    found = []
    for field in comparison.fields if comparison.is_installs else ():
        if field.mapping.enerflo != "status_name":
            continue
        name = literal(field.name)
        if field.mapping.values:
            words = (translated("s.name", field.mapping, field.fold), "(f.theirs #>> '{}')")
            word, said = (normal_text(one, field.mapping, field.fold) for one in words)
            several = _SEVERAL_STATUSES.substitute(status=name, word=word, said=said)
            found.append(("the CRM's word stands for several statuses of the company (values)", several))
        unknown = Template(_UNKNOWN_STATUS).safe_substitute(status=name)
        found.append(("the company has no status of this name", unknown))
    return found


def _written_key(comparison: Comparison) -> str:
    """Return the key of the record that a change writes: for Enerflo, a wide table's milestone."""
    if not comparison.is_wide:
        return "o.enerflo_key"
    named = "o.enerflo_key || jsonb_build_object('milestone_id', f.milestone)"
    return f"case when r.outcome = 'to_crm' or f.milestone is null then o.enerflo_key else {named} end"


def held_facts(alias: str) -> str:
    """Return the names of the facts that are true as a jsonb array, in the order of :data:`FACTS`."""
    cases = ", ".join(f"case when {alias}.{fact} then '{fact}' end" for fact in FACTS)
    return f"to_jsonb(array_remove(array[{cases}], null))"


def _texts(name: str, rules: Sequence[tuple[str, str, Resolution]]) -> dict[str, str]:
    """Return the names, words and outcomes of rules as SQL arrays, indexed by the rules' numbers."""
    parts = zip(("names", "words", "outcomes"), zip(*rules, strict=True), strict=True)
    return {
        f"{name}_{part}": f"array[{', '.join(literal(str(text)) for text in texts)}]" for part, texts in parts
    }
