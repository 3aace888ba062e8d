"""What fails, as Airflow Variables: one for each failing task, and for each cause one for each account.

Airflow keeps them, so they are there when the warehouse is not. No secret and nothing personal is in one.
What cannot be read counts as unknown: told twice is better than not told.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Variable

from enerflo_sync.errors import RetriableError

log = logging.getLogger(__name__)

# A colon is no character of a DAG's or a task's id, so no name is the beginning of another one.
_TASK, _CAUSE = "enerflo_failing", "enerflo_failing_by"
_DESCRIPTION = "What fails, and the routes that were told. enerflo-sync deletes it at the end of the failure."
# Another account that begins to fail by a cause this long after it was told may have another trouble.
_SAME = timedelta(hours=1)
# A cause by which nothing failed for so long is over, also where the task that was told of never runs again:
# longer than the weekly jobs need to fail once more.
_OVER = timedelta(days=8)


@dataclass(frozen=True)
class Failing:
    """One failing task.

    :param seen: when it failed the last time.
    :param told: the routes that know of it.
    :param cause: the name of the cause that it was told for; empty without one.
    """

    since: datetime
    run_id: str
    told: tuple[str, ...] = ()
    cause: str = ""
    seen: datetime | None = None

    def and_told(self, route: str) -> Failing:
        """Return the same after one more route was told."""
        return replace(self, told=(*self.told, route))


def failing(dag_id: str, task_id: str) -> Failing | None:
    """Return what is known of a failing task; None if it does not fail, as far as is known."""
    found = _read(f"{_TASK}:{dag_id}:{task_id}")
    try:
        since = datetime.fromisoformat(found["since"])
        # An older program notes no time of the last failure.
        seen = datetime.fromisoformat(found.get("seen", found["since"]))
        return Failing(since, str(found["run_id"]), tuple(found["told"]), str(found["cause"]), seen)
    except (KeyError, TypeError, ValueError):
        return None


def failing_of(dag_id: str) -> Iterator[tuple[str, Failing]]:
    """Yield the failing tasks of a DAG. Costs one request while nothing fails."""
    prefix = f"{_TASK}:{dag_id}:"
    for key in _keys(prefix):
        task_id = key.removeprefix(prefix)
        known = failing(dag_id, task_id)
        if known is not None:
            yield task_id, known


def all_failing() -> Iterator[tuple[str, str, Failing]]:
    """Yield DAG, task and what is known of all failing tasks. Costs one request while nothing fails."""
    for key in _keys(f"{_TASK}:"):
        dag_id, _, task_id = key.removeprefix(f"{_TASK}:").partition(":")
        known = failing(dag_id, task_id)
        if known is not None:
            yield dag_id, task_id, known


def is_another_failure(known: Failing, now: datetime) -> bool:
    """Return whether a task that fails now must have worked, been switched off or removed in between.

    Nobody notes the end where no route was told of failures for a while, or where the task itself was gone.
    """
    return known.seen is not None and now - known.seen >= _OVER


def remember(dag_id: str, task_id: str, known: Failing) -> None:
    """Remember a failing task."""
    value = {"since": known.since.isoformat(), "run_id": known.run_id, "told": [*known.told]}
    if known.seen is not None:
        value["seen"] = known.seen.isoformat()
    _write(f"{_TASK}:{dag_id}:{task_id}", {**value, "cause": known.cause})


def forget(dag_id: str, task_id: str, known: Failing) -> None:
    """Forget a task that fails no more, and what was told by it of its cause, in any account."""
    _delete(f"{_TASK}:{dag_id}:{task_id}")
    for key in _keys(f"{_CAUSE}:{known.cause}:") if known.cause else ():
        found = _routes(_read(key))
        left = {name: by for name, by in found.items() if by.task != f"{dag_id}:{task_id}"}
        if not left:
            _delete(key)
        elif left != found:
            _write_cause(key, left)


def cause_of(error: object) -> str:
    """Return the name of a cause that tasks of several DAGs and accounts can share; empty for any other.

    A database or a vendor that does not answer fails them all. A wrong key of one account and of another are
    two things to do, although the sentence is the same.
    """
    if not isinstance(error, RetriableError):
        return ""
    return hashlib.sha256(f"{type(error).__name__} {error.what}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _By:
    """By the failure of which task a route was told of a cause, and when."""

    task: str
    at: datetime


def routes_that_know(cause: str, account: str, routes: Set[str]) -> frozenset[str]:
    """Return those of an account's routes that know a cause: another task that fails by it is no news there.

    They know until the task that they were told of works again. An account that begins to fail within an hour
    after another one was told belongs to that message; one that begins later is told of by itself.
    """
    if not cause:
        return frozenset()
    own, now = f"{_CAUSE}:{cause}:{account}", datetime.now(UTC)
    record = _read(own)
    known = {} if _is_over(record, now) else _still_failing(_routes(record))
    others = iter(_keys(f"{_CAUSE}:{cause}:") if routes - known.keys() else ())
    # Hundreds of accounts may fail at once, and most of their notes say the same.
    while routes - known.keys() and (key := next(others, None)):
        joined = {name: by for name, by in _routes(_read(key)).items() if now - by.at < _SAME}
        known = _still_failing(joined) | known
    if known:
        _write_cause(own, known)
    return frozenset(known)


def _still_failing(told: Mapping[str, _By]) -> dict[str, _By]:
    """Return the routes that were not told yet that the task fails no more."""
    found = {by.task: failing(*by.task.split(":", 1)) for by in told.values()}
    return {name: by for name, by in told.items() if (one := found[by.task]) and name in one.told}


def remember_cause(cause: str, account: str, dag_id: str, task_id: str, told: Iterable[str]) -> None:
    """Remember the routes that were told of a cause just now, by the failure of a task."""
    key, now = f"{_CAUSE}:{cause}:{account}", datetime.now(UTC)
    _write_cause(key, _routes(_read(key)) | dict.fromkeys(told, _By(f"{dag_id}:{task_id}", now)))


def _is_over(record: Mapping[str, Any], now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(record["seen"]) >= _OVER
    except (KeyError, TypeError, ValueError):
        return True


def _routes(record: Mapping[str, Any]) -> dict[str, _By]:
    try:
        return {
            name: _By(str(by["task"]), datetime.fromisoformat(by["at"]))
            for name, by in record["told"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _write_cause(key: str, told: Mapping[str, _By]) -> None:
    routes = {name: {"task": by.task, "at": by.at.isoformat()} for name, by in told.items()}
    _write(key, {"seen": datetime.now(UTC).isoformat(), "told": routes})


def _keys(prefix: str) -> list[str]:
    try:
        return list(Variable.keys(prefix=prefix))
    except Exception as error:
        _missed("listed", prefix, error)
        return []


def _read(key: str) -> Mapping[str, Any]:
    try:
        found = Variable.get(key, default=None, deserialize_json=True)
    except Exception as error:
        _missed("read", key, error)
        return {}
    return found if isinstance(found, dict) else {}


def _write(key: str, value: Mapping[str, Any]) -> None:
    try:
        Variable.set(key, dict(value), description=_DESCRIPTION, serialize_json=True)
    except Exception as error:
        _missed("written", key, error)


def _delete(key: str) -> None:
    try:
        Variable.delete(key)
    except Exception as error:
        _missed("deleted", key, error)


def _missed(what: str, key: str, error: Exception) -> None:
    log.warning("the Airflow Variable %s could not be %s (%s)", key, what, type(error).__name__)
