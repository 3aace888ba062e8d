"""Two generated tables of installs that differ in a known way: the mirror's side and the CRM's side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from benchmarks.warehouse import Warehouse

KEY = "install_id"
# Narrow copy of the mirror's side for tools that compare tables as they are: key and compared columns only.
LEFT = "peers.installs"
RIGHT = "crm.installs"
DATABASE = "bench_rows"

# The compared columns, each with its generated value and with what a differing row has instead.
_VALUES: dict[str, tuple[str, str]] = {
    "deal_id": ("md5('d' || n)::uuid::text", "md5('e' || n)::uuid::text"),
    "customer_name": ("'Customer Number ' || n", "'Customer Numbered ' || n"),
    "status_name": (
        "case when n / 100 % 7 = 3 then 'Voided'"
        " else (array['In Progress', 'On Hold', 'Completed'])[1 + n % 3] end",
        "'Somewhere else'",
    ),
    "current_milestone": ("(array['Site Survey', 'Permit', 'Install', 'Inspection'])[1 + n % 4]", "'PTO'"),
    "office_name": ("'Office ' || n % 40", "'Office ' || 40 + n % 40"),
    "agent_name": ("'Agent ' || n % 900", "null"),
    "system_size_kw": ("(4000 + n % 9000)::numeric / 1000", "(4001 + n % 9000)::numeric / 1000 + 0.5"),
    "panel_type": ("(array['Q.PEAK DUO 400', 'REC Alpha 405', 'SPR-A420'])[1 + n % 3]", "'Other 410'"),
    "panel_count": ("(10 + n % 40)::int", "(11 + n % 40)::int"),
    "battery_configuration": ("case when n % 5 = 0 then '2 x Powerwall 3' end", "'1 x Powerwall 2'"),
    "contract_amount": (
        "(1500000 + n % 4000000)::numeric / 100",
        "(1500000 + n % 4000000)::numeric / 100 + 1",
    ),
    "created_at": (
        "timestamptz '2021-01-01 00:00:00+00' + n * interval '97 seconds'",
        "timestamptz '2021-01-02 00:00:00+00' + n * interval '97 seconds'",
    ),
}
COMPARED = tuple(_VALUES)
_TYPES = {
    "system_size_kw": "numeric",
    "contract_amount": "numeric",
    "panel_count": "integer",
    "created_at": "timestamptz",
}

CONFIG = """
version: 1
accounts:
  default:
    warehouse_url: ${WAREHOUSE_URL}
tables:
  installs:
    crm_table: crm.installs
    key: {install_id: install_id}
    updated_at: updated_at
    updated_at_set_at_commit: true
    fields:
      deal_id: {enerflo: deal_id, type: text}
      customer_name: {enerflo: customer_name, type: text, trim: true, fold_case: true, null: empty_is_null}
      status_name: {enerflo: status_name, type: text, trim: true, fold_case: true}
      current_milestone: {enerflo: current_milestone, type: text, trim: true, fold_case: true}
      office_name: {enerflo: office_name, type: text, trim: true, fold_case: true}
      agent_name: {enerflo: agent_name, type: text, trim: true, fold_case: true, null: empty_is_null}
      system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.005}
      panel_type: {enerflo: panel_type, type: text, trim: true, fold_case: true, null: empty_is_null}
      panel_count: {enerflo: panel_count, type: integer}
      battery_configuration:
        {enerflo: battery_configuration, type: text, trim: true, fold_case: true, null: empty_is_null}
      contract_amount: {enerflo: contract_amount, type: number, tolerance: 0.005}
      created_at: {enerflo: created_at, type: timestamp, precision: second}
"""

# The same with Enerflo's values to be written into the CRM.
WRITING_CONFIG = CONFIG.replace("${WAREHOUSE_URL}", "${WAREHOUSE_URL}\n    mode: crm").replace(
    ", type:", ", source_of_truth: enerflo, null_overwrites: true, type:"
)


@dataclass(frozen=True)
class Planted:
    """What a comparison must find, by row number: every hundredth row differs in one column, in turn."""

    only_left: int
    only_right: int
    differing: int
    by_cause: dict[str, int]

    @classmethod
    def of(cls, rows: int, *, changed_per: int = 0) -> Planted:
        """Return what is planted in so many rows.

        :param changed_per: the ``per`` with which :func:`change_statement` was run a moment ago, if it was.
        """
        causes: Counter[str] = Counter()
        sides: Counter[str] = Counter()
        for hundred in range(rows // 100):
            voided = hundred % 7 == 3
            sides["differing"] += 1
            causes["voided" if voided else "unexplained"] += 1
            if changed_per and hundred % (changed_per // 100) == 0:
                sides["differing"] += 1
                causes["voided" if voided else "in_flight"] += 1
            if hundred % 10 == 0:
                sides["only_left"] += 1
                causes["voided" if voided else "missing_in_crm"] += 1
                sides["only_right"] += 1
                causes["missing_in_enerflo"] += 1
        return cls(sides["only_left"], sides["only_right"], sides["differing"], dict(causes))


def change_statement(per: int) -> str:
    """Return the statement by which one CRM row in ``per``, a multiple of 100, is edited now."""
    return (
        f"update {RIGHT} set panel_count = panel_count + 1, updated_at = now() where ({KEY} - 1) % {per} = 50"
    )


def warm(warehouse: Warehouse, database: str) -> None:
    """Read both sides of a copy of :data:`DATABASE` once, as those of the original were when it was made.

    By their keys: a scan of a large table keeps little of it in shared buffers.
    """
    sides = (f"select count(created_at) from {table}" for table in ("enerflo.installs", RIGHT))
    warehouse.execute(database, "set enable_seqscan = off", "set enable_bitmapscan = off", *sides)


def plant(warehouse: Warehouse, rows: int) -> None:
    """Make the database :data:`DATABASE` with both sides in it, vacuumed and analyzed.

    Row ``n`` of a hundred: 1 differs, 2 of a thousand is on the left only, 3 of a thousand on the right only.

    :param rows: how many row numbers there are, a multiple of 1,000.
    """
    if rows % 1000:
        raise ValueError(f"rows must be a multiple of 1,000, got {rows}")
    warehouse.migrated(DATABASE)
    numbers = f"generate_series(1, {rows}) n"
    alike = ", ".join(f"{value} as {name}" for name, (value, _) in _VALUES.items())
    differing = ", ".join(
        f"case when n % 100 = 1 and n / 100 % {len(_VALUES)} = {at} then {other} else {value} end as {name}"
        for at, (name, (value, other)) in enumerate(_VALUES.items())
    )
    columns = ", ".join(COMPARED)
    declared = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COMPARED)
    warehouse.execute(
        DATABASE,
        f"""insert into enerflo.installs (account, {KEY}, {columns}, observed_at, observed_by, raw_hash,
                                         content_hash, customer_id, company_id, status_id, updated_at)
            select 'default', n, {alike}, timestamptz '2025-01-01 00:00:00+00', 'poll',
                   decode(md5('r' || n), 'hex'), md5('a' || n) || md5('b' || n), n + 7, 1, 1 + n % 3,
                   timestamptz '2024-12-31 00:00:00+00'
            from {numbers} where n % 1000 <> 3""",
        "create schema crm",
        f"create table {RIGHT} ({KEY} bigint not null, {declared}, updated_at timestamptz)",
        f"""insert into {RIGHT} select n, {differing}, timestamptz '2024-12-31 00:00:00+00'
            from {numbers} where n % 1000 <> 2""",
        f"alter table {RIGHT} add primary key ({KEY})",
        f"create index on {RIGHT} (updated_at)",
        "create schema peers",
        f"create table {LEFT} as select {KEY}, {columns} from enerflo.installs",
        f"alter table {LEFT} add primary key ({KEY})",
        # Of a number without places reladiff compares whole numbers alone.
        *(
            f"alter table {LEFT} alter {name} type numeric(20,6)"
            for name, kind in _TYPES.items()
            if kind == "numeric"
        ),
        """insert into sync.runs (account, run_id, job, started_at, finished_at, state)
           values ('default', 'poll-generated', 'poll', timestamptz '2025-01-01 00:00:00+00',
                   timestamptz '2025-01-01 00:01:00+00', 'ok')""",
        "vacuum (freeze, analyze)",
    )
