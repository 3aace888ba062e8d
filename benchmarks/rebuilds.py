"""Rebuild of ours on one core: of a sound mirror, of a damaged one, and of one that is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.company import API_KEY, running_company
from benchmarks.jobs import LoadJob, RebuildJob
from benchmarks.loads import OURS
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse

Say = Callable[[str], None]

DATABASE = "bench_rebuild"
MODULE = "benchmarks.peers.ours_rebuild"
# One install in so many is damaged.
DAMAGED_PER = 100
# Ids of a company are far below.
_FAR = 100_000_000

# The polled company so many times over, each time under other ids; raw versions and rows say the same.
_COPY = """
with copies as (select n * {far} as by from generate_series(1, {copies}) n),
installs as (
  insert into enerflo.installs ({installs})
  select {copied} from enerflo.installs i cross join copies
), milestones as (
  insert into enerflo.milestones ({milestones})
  select {copied_milestones} from enerflo.milestones m cross join copies
)
insert into enerflo.install_versions
select v.account, v.install_id + by, v.content_hash,
  jsonb_set(v.raw, '{{id}}', to_jsonb(v.install_id + by)), v.first_seen_at, v.observed_by, v.evidence
from enerflo.install_versions v cross join copies
"""
# All that rows say: sums of digests, in any order.
_SAYS = """
select count(*), sum(hashtextextended(({say_installs})::text, 0)),
  (select sum(hashtextextended(({say_milestones})::text, 0)) from enerflo.milestones m)
from enerflo.installs i
"""
_OUR_OWN = ("observed_at", "observed_by", "raw_hash", "detail_read_at")


@dataclass(frozen=True)
class Step:
    """One measured rebuild.

    :param damage: what is done to the mirror before it.
    :param written: how many installs it has to write; None for all.
    """

    name: str
    damage: tuple[str, ...] = ()
    write: bool = True
    written_per: int | None = None


SOUND = Step("nothing differs, shown only", write=False)
DAMAGED = Step(
    f"one install in {DAMAGED_PER} damaged, written",
    (
        f"""update enerflo.installs set status_name = 'Nonsense', panel_count = null
            where install_id in (select install_id from (
              select install_id, row_number() over (order by install_id) n from enerflo.installs) x
              where n % {DAMAGED_PER} = 0)""",
    ),
    written_per=DAMAGED_PER,
)
GONE = Step("all rows gone, written", ("truncate enerflo.installs, enerflo.milestones",), written_per=1)
STEPS = (SOUND, DAMAGED, GONE)


@dataclass
class RebuildRuns:
    """All measurements of this kind, by step."""

    installs: int
    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, step: Step) -> list[Measurement]:
        """Return the runs of one step."""
        return self.runs.get(step.name, [])


def measure_rebuilds(
    warehouse: Warehouse, company_size: int, copies: int, repeat: int, say: Say
) -> RebuildRuns:
    """Poll a company, put it into the mirror ``copies`` times, and rebuild that.

    Client and server share one core, so that the seconds are those of both.
    """
    result = RebuildRuns(company_size * copies)
    try:
        _plant(warehouse, company_size, copies, say)
        columns = _columns(warehouse)
        says = warehouse.row(DATABASE, _SAYS.format(**columns))
        expect("planted", "installs", says[0], result.installs)
        for number in range(repeat):
            say(f"rebuild: round {number + 1} of {repeat}")
            for step in STEPS:
                warehouse.execute(DATABASE, *step.damage, "analyze enerflo.installs, enerflo.milestones")
                with warehouse.on_one_core() as core:
                    run = _run(warehouse, step, core)
                wanted = result.installs // step.written_per if step.written_per else 0
                expect(step.name, "installs that differ", run.counts["installs"], wanted)
                expect(step.name, "rows", warehouse.row(DATABASE, _SAYS.format(**columns)), says)
                result.runs.setdefault(step.name, []).append(run)
                rate = result.installs / run.seconds
                say(f"rebuild: {step.name}: {rate:,.0f} installs/s, {run.peak_rss_mb:.0f} MB")
    except (CouldNotMeasureError, WrongResultError) as error:
        result.failures.append(str(error))
        say(f"NOT MEASURED: {error}")
    finally:
        warehouse.drop(DATABASE)
    return result


def _run(warehouse: Warehouse, step: Step, core: int) -> Measurement:
    warehouse.settle()
    job = RebuildJob(warehouse.database_url(DATABASE), step.write, core)
    return run_fresh(MODULE, job, server_cpu=warehouse.cpu_seconds)


def _plant(warehouse: Warehouse, company_size: int, copies: int, say: Say) -> None:
    say(f"rebuild: making a mirror of {company_size * copies:,} installs")
    url = warehouse.migrated(DATABASE)
    with running_company(company_size) as company:
        job = LoadJob(company.url, API_KEY, url, None, "")
        polled = run_fresh(OURS.module, job, server_cpu=warehouse.cpu_seconds)
    expect("poll", "installs", polled.counts["applied"], company_size)
    if copies > 1:
        columns = _columns(warehouse)
        warehouse.execute(DATABASE, _COPY.format(far=_FAR, copies=copies - 1, **columns))
    warehouse.execute(DATABASE, "vacuum (freeze, analyze)")


def _columns(warehouse: Warehouse) -> dict[str, str]:
    """Return lists of columns for the statements above."""
    found = {}
    for table, alias in (("installs", "i"), ("milestones", "m")):
        query = (
            "select array_agg(column_name::text order by ordinal_position) from information_schema.columns"
            f" where table_schema = 'enerflo' and table_name = '{table}'"
        )
        (names,) = warehouse.row(DATABASE, query)
        copied = [f"{alias}.{name} + by" if name == "install_id" else f"{alias}.{name}" for name in names]
        said = [f"{alias}.{name}" for name in names if name not in _OUR_OWN]
        found[f"copied_{table}" if table == "milestones" else "copied"] = ", ".join(copied)
        found[table] = ", ".join(names)
        found[f"say_{table}"] = ", ".join(said)
    return found
