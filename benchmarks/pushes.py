"""Writes to Enerflo in its limit: how much of it is used, and whether it is ever exceeded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.company import API_KEY, OTHER_KEY, Company, running_company
from benchmarks.jobs import ApplyJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.poll_resources import PollResource

Say = Callable[[str], None]
DATABASE = "bench_push"
# The vendor's, of each key (REFERENCE.md §2).
LIMIT_A_MINUTE = 300
MANY_CHANGES = 250
FEW_CHANGES = 105

CONFIG = """
version: 1
accounts:
  default:
    base_url: ${ENERFLO_BASE_URL}
    api_key: ${ENERFLO_API_KEY}
    warehouse_url: ${WAREHOUSE_URL}
    mode: enerflo
tables:
  installs:
    crm_table: crm.installs
    key: {install_id: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: crm}
"""
_CRM = (
    "create schema crm",
    "create table crm.installs as select install_id, status_name as status, now() as updated_at"
    " from enerflo.installs",
    "alter table crm.installs add primary key (install_id)",
)
_EDIT = """
update crm.installs set updated_at = now(),
  status = case status when 'On Hold' then 'In progress' else 'On Hold' end
where install_id in (select install_id from crm.installs where status not in ('Voided', 'Cancelled')
                     order by install_id limit {})
"""
_WRITTEN = """
select count(*) from crm.installs c join enerflo.installs e using (install_id)
where c.status is distinct from e.status_name
"""


@dataclass(frozen=True)
class Use:
    """How the requests of one run lay in the minutes, from its first request on.

    :param minutes: requests of each whole minute of the run.
    :param filled: of what the limit allows, the share that was sent up to the last time that a whole limit's
        requests had been sent and the next was let pass: what a long run comes to. None in a short one.
    """

    minutes: Sequence[int]
    filled: float | None

    @property
    def share(self) -> float | None:
        """Return the lesser of both shares, None where the run was too short to tell."""
        if not self.minutes or self.filled is None:
            return None
        return min(sum(self.minutes) / (LIMIT_A_MINUTE * len(self.minutes)), self.filled)


@dataclass(frozen=True)
class Push:
    """One push, and what the company counted of it.

    :param beside_answers: seconds that a request took beside its answer.
    :param refused: requests answered 429.
    """

    run: Measurement
    use: Use
    beside_answers: float
    refused: int


@dataclass
class PushRuns:
    """All pushes, of so many changes each."""

    changes: int
    rounds: list[Push] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def beside_answers(sent: Sequence[float], answering: float) -> float:
    """Return the seconds that a request took beside its answer, while nothing made it wait for the limit.

    :param sent: when each request went out; two or more.
    :param answering: how long all answers took together.
    """
    free = sent[:LIMIT_A_MINUTE]
    return (free[-1] - free[0]) / (len(free) - 1) - answering / len(sent)


def use_of(sent: Sequence[float]) -> Use:
    """Return how requests used their minutes.

    :param sent: when each went out, in seconds by any clock, ascending.
    """
    if not sent:
        return Use((), None)
    since = [moment - sent[0] for moment in sent]
    whole = int(since[-1] // 60)
    minutes = tuple(sum(60 * n <= moment < 60 * (n + 1) for moment in since) for n in range(whole))
    rounds = (len(since) - 1) // LIMIT_A_MINUTE
    filled = rounds * 60 / since[rounds * LIMIT_A_MINUTE] if rounds else None
    return Use(minutes, filled)


def measure_push(warehouse: Warehouse, changes: int, repeat: int, say: Say) -> PushRuns:
    """Push status changes to a company with the vendor's limit, and return what each round took."""
    result = PushRuns(changes)
    say(f"push: {changes:,} changes, about {changes * 3 / LIMIT_A_MINUTE:.1f} minutes a round")
    try:
        for number in range(repeat):
            say(f"push: round {number + 1} of {repeat}")
            push = _push(warehouse, changes)
            result.rounds.append(push)
            say(f"push: {push.run.seconds:.1f} s, {push.run.requests:,} requests, {push.use}")
    except (CouldNotMeasureError, WrongResultError) as error:
        result.failures.append(str(error))
        say(f"NOT MEASURED: {error}")
    finally:
        warehouse.drop(DATABASE)
    return result


def _push(warehouse: Warehouse, changes: int) -> Push:
    # A company of its own for each round: a small one, whose key has sent nothing in the minute before.
    with running_company(changes * 2, LIMIT_A_MINUTE) as company, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sync.yaml"
        config.write_text(CONFIG)
        url = warehouse.migrated(DATABASE)
        plan_hash = _planned(warehouse, company, url, config, changes)
        before, refused_before = company.accepted_and_refused()
        run = run_fresh(
            "benchmarks.peers.ours_push",
            ApplyJob(url, str(config), plan_hash, company.url, API_KEY),
            server_cpu=warehouse.cpu_seconds,
            requests=lambda: sum(company.accepted_and_refused()),
        )
        accepted, refused = company.accepted_and_refused()
        refused -= refused_before
        sent = sorted(run.counts["sent"])
        expect("push", "changes made", run.counts["applied"], changes)
        expect("push", "rows that differ", warehouse.row(DATABASE, _WRITTEN), (0,))
        expect("push", "requests that the company counted", accepted - before, len(sent) - refused)
    return Push(run, use_of(sent), beside_answers(sent, run.counts["answering"]), refused)


def _planned(warehouse: Warehouse, company: Company, url: str, config: Path, changes: int) -> str:
    """Poll, let the CRM say another status of some installs, and return the plan's hash."""
    environ = {"ENERFLO_BASE_URL": company.url, "ENERFLO_API_KEY": OTHER_KEY, "WAREHOUSE_URL": url}
    context = open_account("default", environ, config)
    try:
        run_poll(context, resources=frozenset({PollResource.STATUSES, PollResource.INSTALLS}))
        warehouse.execute(DATABASE, *_CRM, _EDIT.format(changes))
        plan = run_plan(context)[0]
    finally:
        context.close()
    expect("push", "changes planned", (plan.change_count, plan.count("to_enerflo")), (changes, changes))
    return plan.plan_hash
