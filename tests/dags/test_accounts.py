"""Every DAG of every account follows the account's section ``airflow``, whichever file the account stands in."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.dag_parsing_context import (
    _AIRFLOW_PARSING_CONTEXT_DAG_ID,
    _AIRFLOW_PARSING_CONTEXT_TASK_ID,
    _airflow_parsing_context_manager,
)
from airflow.timetables.trigger import CronTriggerTimetable
from enerflo_airflow.accounts import sync_config
from enerflo_airflow.dags import all_dags

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.shipped import CONFIG_VARIABLE, shipped
from tests.airflow_environment import DAGS

NOTIFY = "notify:\n  routes: {all: {email: {to: [ops@example.com]}}}\n"
OPTIONS = """\
group: coast
webhook_drop_uri: /drops/west
schedule: {poll: "30 6 * * *", time_zone: America/Denver}
airflow:
  owner: data-team
  tags: [solar]
  queue: slow
  pool: enerflo
  executor: LocalExecutor
  priority_weight: 7
  retries: 5
  approvers: [maria, {id: "7", name: jo}]
"""

Bag = Callable[..., DagBag]
# Takes the path of each file that is opened; an audit hook stays for the life of the process.
watched: list[Callable[[str], None]] = []
sys.addaudithook(lambda event, what: [tell(str(what[0])) for tell in watched] if event == "open" else None)


@pytest.fixture
def bag_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bag:
    """The bag of a sync.yaml with an account ``west`` in a file of its own."""

    def bag(west: str, defaults: str = "") -> DagBag:
        config = tmp_path / "sync.yaml"
        text = shipped("sync.yaml").read_text()
        config.write_text(
            text[: text.index("notify:\n")] + NOTIFY + text[text.index("# Keys of change_values") :]
        )
        if defaults:
            indented = "".join(f"  {line}\n" for line in defaults.splitlines())
            config.write_text(config.read_text() + f"defaults:\n{indented}")
        (tmp_path / "accounts").mkdir(exist_ok=True)
        (tmp_path / "accounts" / "west.yaml").write_text(west)
        monkeypatch.setenv(CONFIG_VARIABLE, str(config))
        return DagBag(dag_folder=str(DAGS))

    return bag


def of_account(bag: DagBag, account: str) -> dict[str, DAG]:
    assert bag.import_errors == {}
    found = {dag_id: dag for dag_id, dag in bag.dags.items() if f"account:{account}" in dag.tags}
    # Two of the files are about all accounts.
    assert len(found) == len(list(DAGS.glob("*.py"))) - 2
    return found


def test_the_section_airflow_reaches_every_task_of_every_dag(bag_of: Bag) -> None:
    for dag in of_account(bag_of(OPTIONS), "west").values():
        assert dag.tags == {"enerflo", "account:west", "group:coast", "solar"}
        for task in dag.tasks:
            where = (task.owner, task.queue, task.pool, task.executor, task.priority_weight)
            assert where == ("data-team", "slow", "enerflo", "LocalExecutor", 7), task
            # Telling is tried again by the next run of any DAG. A question costs nothing to ask again.
            retries = {"tell_people": 1, "ask_a_person": 5 if "sync" in dag.dag_id else 20}
            assert task.retries == retries.get(task.task_id, 5), task


def test_what_an_account_says_reaches_no_other(bag_of: Bag) -> None:
    for dag in of_account(bag_of(OPTIONS), "default").values():
        assert dag.tags == {"enerflo", "account:default"}
        for task in dag.tasks:
            assert (task.owner, task.queue, task.pool) == ("enerflo-sync", "default", "default_pool"), task
            assert (task.executor, task.priority_weight) == (None, 1), task


def test_the_defaults_reach_the_dags_of_every_account(bag_of: Bag) -> None:
    bag = bag_of(
        "airflow: {owner: west-team}\nwebhook_drop_uri: /drops/west\n",
        "airflow: {pool: enerflo, owner: all}\n",
    )
    for account, owner in (("default", "all"), ("west", "west-team")):
        for dag in of_account(bag, account).values():
            assert {(task.pool, task.owner) for task in dag.tasks} == {("enerflo", owner)}


def test_schedules_are_in_the_accounts_time_zone(bag_of: Bag) -> None:
    bag = bag_of(OPTIONS)
    zones = {}
    for account in ("west", "default"):
        for dag_id, dag in of_account(bag, account).items():
            written: Any = dag.timetable
            clock = getattr(written, "timetable", written)
            if type(clock).__name__ == "CronTriggerTimetable":
                zones[dag_id] = str(clock.timezone)
    assert zones == {
        f"enerflo_{job}{suffix}": zone
        for job in ("poll", "prune", "reconcile", "webhooks")
        for suffix, zone in (("", "UTC"), ("__west", "America/Denver"))
    }


@pytest.mark.parametrize("zone", ["UTC", "America/Denver", "Australia/Lord_Howe", "Asia/Kolkata"])
@pytest.mark.parametrize("expression", ["*/15 * * * *", "30 1 * * *", "15 2 * * *", "@daily", "0 9 * * 6"])
def test_what_was_due_is_judged_as_airflow_starts_it(expression: str, zone: str) -> None:
    """Also in the two nights of clock changes; else a verdict would be late, or never."""
    timetable: Any = CronTriggerTimetable(expression, timezone=zone)
    due, rng = cron(expression, zone), random.Random(expression + zone)
    nights = [datetime(2026, month, day, tzinfo=UTC) for month in (3, 4, 10, 11) for day in range(1, 9)]
    for _ in range(150):
        moment = rng.choice(nights) + timedelta(minutes=rng.randrange(24 * 60))
        assert due(moment) == timetable._get_next(pendulum.instance(moment)), moment


def test_only_approvers_answer_the_questions_of_an_account(bag_of: Bag) -> None:
    bag = bag_of(OPTIONS)
    for job in ("approve", "backfill"):
        task: Any = bag.dags[f"enerflo_{job}__west"].get_task("ask_a_person")
        assert task.assigned_users == [{"id": "maria", "name": "maria"}, {"id": "7", "name": "jo"}]
        task = bag.dags[f"enerflo_{job}"].get_task("ask_a_person")
        assert task.assigned_users is None


def test_answers_that_come_too_soon_for_airflow_do_not_end_the_run(bag_of: Bag) -> None:
    """Airflow 3.3 takes each for a failure of the task that asks, and the task asks again."""
    bag = bag_of(OPTIONS.replace("retries: 5", "retries: 0"))
    for job in ("approve", "backfill"):
        task = bag.dags[f"enerflo_{job}__west"].get_task("ask_a_person")
        assert (task.retries, task.retry_delay.total_seconds()) == (20, 5), job
        assert task.retry_exponential_backoff == 1


def test_two_persons_are_asked_by_two_tasks(bag_of: Bag, tmp_path: Path) -> None:
    dag = bag_of(OPTIONS).dags["enerflo_approve__west"]
    assert "ask_a_second_person" not in dag.task_ids
    config = tmp_path / "sync.yaml"
    text = config.read_text()
    assert "  first_to_enerflo: true" in text
    config.write_text(text.replace("  first_to_enerflo: true", "  second_person: true"))
    bag = DagBag(dag_folder=str(DAGS))
    assert not bag.import_errors
    dag = bag.dags["enerflo_approve__west"]
    second: Any = dag.get_task("ask_a_second_person")
    assert (second.second, second.upstream_task_ids) == (True, {"ask_a_person", "find_plan"})
    assert dag.get_task("apply_plan").upstream_task_ids >= {"ask_a_second_person"}
    assert second.assigned_users == [{"id": "maria", "name": "maria"}, {"id": "7", "name": "jo"}]


WRONG = {
    "yaml": ("a: [1\n", "expected a YAML document"),
    "option": ("mod: both\n", "accounts.west.mod: found the unknown option mod"),
    "value": ("airflow: {priority_weight: 0}\n", "accounts.west.airflow.priority_weight: found 0"),
    # What only Airflow would refuse, and with it every DAG of the file.
    "cron": ("schedule: {poll: 99 * * * *}\n", "accounts.west.schedule.poll: found '99 * * * *'"),
    "executor": (
        "airflow: {executor: Nowhere}\n",
        "accounts.west.airflow.executor: found the executor Nowhere",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_an_accounts_own_file_takes_its_dags_alone_and_is_one_import_error(
    bag_of: Bag, tmp_path: Path, name: str
) -> None:
    text, expected = WRONG[name]
    sound = bag_of("{}\n")
    (tmp_path / "accounts" / "east.yaml").write_text("{}\n")
    bag = bag_of(text)
    others = {one for one in sound.dags if not one.endswith("__west")}
    east = {f"{one.removesuffix('__west')}__east" for one in sound.dags if one.endswith("__west")}
    assert set(bag.dags) == {*others, *east}
    # Airflow takes every DAG of a file with an import error for gone: this file has none.
    (error,) = bag.import_errors.items()
    assert error[0].endswith("check_every_account.py")
    assert f"{tmp_path}/accounts/west.yaml:" in error[1]
    assert expected in error[1]
    assert "Correct west.yaml and run it again." in error[1]


def test_an_executor_of_the_defaults_that_airflow_does_not_have_is_the_import_error_of_all(
    bag_of: Bag,
) -> None:
    bag = bag_of("{}\n", "airflow: {executor: NoSuchExecutor}\n")
    assert not bag.dags
    assert len(bag.import_errors) == len(list(DAGS.glob("*.py")))
    for file, error in bag.import_errors.items():
        # The DAG that checks all accounts has the executor of the defaults, so that Airflow refuses it.
        told = (
            "" if file.endswith("enerflo_accounts.py") else "defaults.airflow.executor: found the executor "
        )
        assert f"{told}NoSuchExecutor" in error
        assert error.count("sync.yaml:") <= 1


def test_a_mistake_in_the_defaults_is_the_import_error_of_all(bag_of: Bag, tmp_path: Path) -> None:
    bag = bag_of("{}\n", "airflow: {priority_weight: 0}\n")
    assert len(bag.import_errors) == len(list(DAGS.glob("*.py")))
    for error in bag.import_errors.values():
        assert f"{tmp_path}/sync.yaml:" in error
        assert "defaults.airflow.priority_weight: found 0" in error


def test_a_task_of_an_account_that_cannot_be_used_is_told_why(
    bag_of: Bag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was queued before the mistake; the log of the task has the reason, and not that there is no DAG."""
    with monkeypatch.context() as patched:
        for name in (_AIRFLOW_PARSING_CONTEXT_DAG_ID, _AIRFLOW_PARSING_CONTEXT_TASK_ID):
            patched.setenv(name, "")
        with _airflow_parsing_context_manager(dag_id="enerflo_sync__west", task_id="make_plan"):
            bag = bag_of("mod: both\n")
    assert not bag.dags
    (error,) = [text for file, text in bag.import_errors.items() if file.endswith("enerflo_sync_dag.py")]
    assert "accounts.west.mod: found the unknown option mod" in error


def test_a_task_makes_no_dag_but_its_own(bag_of: Bag, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow parses the DAG file again for each task that it runs, and says for which."""
    whole = bag_of(OPTIONS)
    with monkeypatch.context() as patched:
        # Airflow leaves them set, so that they are put here for the test to take away.
        for name in (_AIRFLOW_PARSING_CONTEXT_DAG_ID, _AIRFLOW_PARSING_CONTEXT_TASK_ID):
            patched.setenv(name, "")
        with _airflow_parsing_context_manager(dag_id="enerflo_sync__west", task_id="make_plan"):
            config = sync_config()
            assert set(bag_of(OPTIONS).dags) == {"enerflo_sync__west"}
            assert set(all_dags()) == {"enerflo_sync__west"}
    assert set(all_dags()) == set(whole.dags)
    assert sync_config() is config


def test_the_files_of_many_accounts_are_read_once_a_second_whatever_asks(bag_of: Bag, tmp_path: Path) -> None:
    bag_of("{}\n")
    for number in range(40):
        (tmp_path / "accounts" / f"a{number}.yaml").write_text("{}\n")
    opened: Counter[str] = Counter()
    watched.append(lambda path: opened.update([path]))
    began = time.monotonic()
    try:
        assert len(all_dags()) > 40 * 7
    finally:
        watched.clear()
    seconds = time.monotonic() - began
    (tmp_path / "accounts" / "a7.yaml").write_text("{}\n")
    # Once to see whether it changed, once to parse it.
    assert opened[str(tmp_path / "accounts" / "a7.yaml")] <= 2 + seconds


def test_the_configuration_is_parsed_once_for_each_content_of_its_files(
    bag_of: Bag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag_of("group: coast\n")
    first, west = sync_config(), tmp_path / "accounts" / "west.yaml"
    assert sync_config() is first
    # Files that come, go, or take the place of others show at once, and others within a second.
    (tmp_path / "accounts" / "east.yaml").write_text("{}\n")
    assert "east" in sync_config().accounts
    assert "enerflo_poll__east" in all_dags()
    (tmp_path / "accounts" / ".new").write_text("group: plain\n")
    (tmp_path / "accounts" / ".new").replace(west)
    assert sync_config().account("west").group == "plain"
    west.write_text("group: third\n")
    time.sleep(1.1)
    assert sync_config().account("west").group == "third"
    monkeypatch.setenv("ENERFLO_API_KEY", "another")
    assert sync_config().account("default").api_key == "another"
    west.unlink()
    assert "west" not in sync_config().accounts


def test_a_configuration_that_became_wrong_is_told_until_it_is_right_again(
    bag_of: Bag, tmp_path: Path
) -> None:
    bag_of("group: coast\n")
    good, east = sync_config(), tmp_path / "accounts" / "east.yaml"
    east.write_text("grup: coast\n")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="did you mean group"):
            sync_config().account("east")
        assert sync_config().account("west").model_dump() == good.account("west").model_dump()
    east.unlink()
    assert sync_config() is good
