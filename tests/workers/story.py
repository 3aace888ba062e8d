"""A backfill across two workers: one is killed in the middle, and so is the scheduler, and later Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.mirror.conftest import assert_mirror_is_true
from tests.workers.fleet import BACKFILL, ESTIMATED_SECONDS, PER_PAGE, POLL, READ_SECONDS, WORKERS, Fleet

_READ_OF_INSTALLS = "select coalesce(sum(rows), 0) from sync.backfill_chunks where resource = 'installs'"
_AT_WORK = """
select count(*) from sync.backfill_chunks where resource = 'installs' and state = 'reading' and pages > 0
"""
_TRIES = """
select hostname, state, try_number, map_index from (
  select dag_id, run_id, task_id, map_index, hostname, state, try_number from task_instance
  union
  select dag_id, run_id, task_id, map_index, hostname, state, try_number from task_instance_history
) tries where dag_id = :dag_id and run_id = :run_id and task_id = 'read_installs'
order by map_index, try_number
"""
_RETURNED = "select value #>> '{}' from xcom where dag_id = :dag_id and run_id = :run_id and key = :key"


@dataclass(frozen=True)
class Try:
    """One try of one part of the installs."""

    worker: str
    state: str
    number: int
    part: int


class Story:
    """What is done to the fleet, step by step."""

    def __init__(self, fleet: Fleet, say: Callable[[str], None] = lambda _: None) -> None:
        self.fleet = fleet
        self._say = say
        self._began = time.monotonic()
        self.run_id = ""

    def backfill_begins(self) -> None:
        """Start a backfill of everything, and return when both workers are in the middle of a part."""
        fleet = self.fleet
        fleet.api.unpause(BACKFILL)
        fleet.sandbox.seconds_per_record = ESTIMATED_SECONDS / PER_PAGE
        self.run_id = fleet.api.trigger(BACKFILL, {"choice": "everything"})
        fleet.wait("an estimate", lambda: fleet.of_warehouse("select 1 from sync.backfill_chunks limit 1"))
        fleet.sandbox.seconds_per_record = READ_SECONDS / PER_PAGE
        (parts,) = fleet.of_warehouse(
            "select count(*) from sync.backfill_chunks where resource = 'installs'"
        )[0]
        self.say(f"estimated: {fleet.installs:,} installs in {parts} parts")
        fleet.wait("two parts under way", lambda: fleet.of_warehouse(_AT_WORK)[0][0] == 2)
        at_work = {one.worker for one in self.tries() if one.state == "running"}
        assert at_work == set(WORKERS), at_work
        self.say("both workers are in the middle of a part")

    def worker_and_scheduler_die(self) -> None:
        """Kill one of the two workers with what it runs, and the scheduler, and start another scheduler."""
        self.fleet.kill(WORKERS[0])
        self.fleet.kill("scheduler")
        self.say(f"{WORKERS[0]} and the scheduler are killed")
        self.fleet.start("scheduler", ["airflow", "scheduler"])

    def backfill_ends(self, seconds: float) -> None:
        """Return when the backfill has ended well."""
        self.fleet.api.wait_for_run(BACKFILL, self.run_id, seconds)
        self.say("the backfill ended well")

    def nothing_is_lost_or_doubled(self) -> None:
        """Compare what was read with what the company has, part by part and row by row."""
        fleet, installs = self.fleet, self.fleet.installs
        tries = self.tries()
        lost = [one for one in tries if one.state != "success"]
        assert {one.worker for one in tries} == set(WORKERS)
        assert [one.worker for one in lost] == [WORKERS[0]], tries
        last = {one.part: one for one in tries}
        assert {one.state for one in last.values()} == {"success"}
        assert last[lost[0].part].worker == WORKERS[1]
        assert last[lost[0].part].number == 2
        # A part's rows are counted with the page that has them: one that was read twice would count twice.
        assert fleet.of_warehouse(_READ_OF_INSTALLS)[0][0] == installs
        assert fleet.of_warehouse("select count(*) from enerflo.installs")[0][0] == installs
        assert fleet.of_warehouse("select count(*) from enerflo.install_versions")[0][0] == installs
        (run,) = fleet.of_warehouse(
            "select state, read, applied + unchanged + quarantined + skipped as counted from sync.runs"
            " where job = 'backfill'"
        )
        assert (run.state, run.read) == ("ok", run.counted)
        self.say(f"{len(tries)} tries of {len(last)} parts: {installs:,} installs, each read once")

    def the_runs_page_and_note_are_there(self) -> None:
        """Look at the run as people do, although what its tasks returned is not in Airflow's database."""
        fleet = self.fleet
        named = {"dag_id": BACKFILL, "run_id": self.run_id}
        returned = [value for (value,) in fleet.of_airflow(_RETURNED, key="return_value", **named)]
        assert returned
        assert all(value.startswith("file://") for value in returned), returned
        (run,) = [run for run in fleet.api.runs(BACKFILL) if run["dag_run_id"] == self.run_id]
        assert "estimated and real" in run["note"]
        page = fleet.api.session.get(f"{fleet.api.url}/enerflo/run", params=named, timeout=30)
        assert page.ok, page.text
        # The page knows the backfill by what the tasks returned, and by nothing else.
        assert '<section id="backfill">' in page.text
        assert "What it read" in page.text

    def the_mirror_is_true_after_a_poll(self) -> None:
        """Let the worker that is left poll what a backfill leaves out, and compare all tables."""
        self.fleet.sandbox.seconds_per_record = 0.0
        self.fleet.api.unpause(POLL)
        self.fleet.api.wait_for_next_run(POLL, set())
        assert_mirror_is_true(self.fleet.warehouse, self.fleet.world.truth)
        self.say("after a poll, the mirror equals the company")

    def redis_is_gone_and_comes_back_empty(self, seconds: float = 180) -> None:
        """Kill Redis, ask for a poll, and start Redis again without what was in it."""
        fleet = self.fleet
        fleet.kill("redis")
        run_id = fleet.api.trigger(POLL)
        self.say("Redis is killed, and a poll asked for")
        time.sleep(5)
        assert fleet.api.run_state(POLL, run_id) in ("queued", "running")
        fleet.start_redis()
        fleet.api.wait_for_run(POLL, run_id, seconds)
        self.say("Redis is back, empty, and the poll ended well")

    def tries(self) -> list[Try]:
        """Return the tries of the parts of installs, by part and number."""
        rows = self.fleet.of_airflow(_TRIES, dag_id=BACKFILL, run_id=self.run_id)
        return [Try(row.hostname, row.state, row.try_number, row.map_index) for row in rows if row.hostname]

    def say(self, what: str) -> None:
        """Say what happened, and when."""
        self._say(f"{time.monotonic() - self._began:6.1f} s  {what}")


def tell(story: Story, *, seconds: float) -> None:
    """Run the story to its end.

    :param seconds: how long the backfill may take after a worker died.
    """
    story.backfill_begins()
    story.worker_and_scheduler_die()
    story.backfill_ends(seconds)
    story.nothing_is_lost_or_doubled()
    story.the_runs_page_and_note_are_there()
    story.the_mirror_is_true_after_a_poll()
