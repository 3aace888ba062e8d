"""What fails, as Airflow Variables: one for each failing task, and one for each cause that several share.

Airflow keeps them, so they are there when the warehouse is not. No secret and nothing personal is in one.
What cannot be read counts as unknown: told twice is better than not told.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Variable

from enerflo_sync.errors import RetriableError

log = logging.getLogger(__name__)

# A colon is no character of a DAG's or a task's id, so no name is the beginning of another one.
_TASK, _CAUSE = "enerflo_failing", "enerflo_failing_by"
_DESCRIPTION = "What fails, and the routes that were told. enerflo-sync deletes it at the end of the failure."
# A failure with the same cause this long after the last one is told anew.
_SAME = timedelta(hours=1)


@dataclass(frozen=True)
class Failing:
    """One failing task.

    :param told: the routes that know of it.
    :param cause: the name of the cause that it was told for; empty without one.
    """

    since: datetime
    run_id: str
    told: tuple[str, ...] = ()
    cause: str = ""

    def and_told(self, route: str) -> Failing:
        """Return the same after one more route was told."""
        return replace(self, told=(*self.told, route))


def failing(dag_id: str, task_id: str) -> Failing | None:
    """Return what is known of a failing task; None if it does not fail, as far as is known."""
    found = _read(f"{_TASK}:{dag_id}:{task_id}")
    try:
        since = datetime.fromisoformat(found["since"])
        return Failing(since, str(found["run_id"]), tuple(found["told"]), str(found["cause"]))
    except (KeyError, TypeError, ValueError):
        return None


def failing_of(dag_id: str) -> Iterator[tuple[str, Failing]]:
    """Yield the failing tasks of a DAG. Costs one request while nothing fails."""
    prefix = f"{_TASK}:{dag_id}:"
    try:
        keys = list(Variable.keys(prefix=prefix))
    except Exception as error:
        _missed("listed", prefix, error)
        return
    for key in keys:
        task_id = key.removeprefix(prefix)
        known = failing(dag_id, task_id)
        if known is not None:
            yield task_id, known


def remember(dag_id: str, task_id: str, known: Failing) -> None:
    """Remember a failing task."""
    value = {"since": known.since.isoformat(), "run_id": known.run_id, "told": [*known.told]}
    _write(f"{_TASK}:{dag_id}:{task_id}", {**value, "cause": known.cause})


def forget(dag_id: str, task_id: str, known: Failing) -> None:
    """Forget a task that fails no more, and the cause that it was told for."""
    _delete(f"{_TASK}:{dag_id}:{task_id}")
    if known.cause and _read(f"{_CAUSE}:{known.cause}").get("owner") == f"{dag_id}:{task_id}":
        _delete(f"{_CAUSE}:{known.cause}")


def cause_of(error: object) -> str:
    """Return the name of a cause that tasks of several DAGs and accounts can share; empty for any other.

    A database or a vendor that does not answer fails them all. A wrong key of one account and of another are
    two things to do, although the sentence is the same.
    """
    if not isinstance(error, RetriableError):
        return ""
    return hashlib.sha256(f"{type(error).__name__} {error.what}".encode()).hexdigest()[:16]


def routes_that_know(cause: str) -> frozenset[str]:
    """Return the routes that know of a cause, which goes on: the failure of another task is no news there."""
    found = _read(f"{_CAUSE}:{cause}") if cause else {}
    try:
        now = datetime.now(UTC)
        if now - datetime.fromisoformat(found["seen"]) >= _SAME:
            return frozenset()
        told = frozenset(found["told"])
    except (KeyError, TypeError, ValueError):
        return frozenset()
    _write(f"{_CAUSE}:{cause}", {**found, "seen": now.isoformat()})
    return told


def remember_cause(cause: str, dag_id: str, task_id: str, told: tuple[str, ...]) -> None:
    """Remember the cause of a failure that was told just now."""
    seen = datetime.now(UTC).isoformat()
    _write(f"{_CAUSE}:{cause}", {"owner": f"{dag_id}:{task_id}", "seen": seen, "told": [*told]})


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
