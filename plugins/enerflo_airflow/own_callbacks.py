"""The functions of a data team's own that ``airflow.callbacks`` has called when a task ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.module_loading import import_string

from enerflo_sync.crm.airflow_options import Callbacks

if TYPE_CHECKING:
    from airflow.sdk import Context


def with_own_callbacks(ours: dict[str, Any], own: Callbacks) -> dict[str, Any]:
    """Return the callbacks of a task: ours, and after each of them the one that sync.yaml names."""
    found = dict(ours)
    for when in Callbacks.model_fields:
        path = getattr(own, when)
        if path is not None:
            name = f"on_{when}_callback"
            found[name] = [*([ours[name]] if name in ours else []), partial(call, path)]
    return found


# Airflow reads the source of each callback whenever it serializes a DAG, so it is short.
def call(path: str, context: Context) -> None:
    """Import the function and call it: one that is missing stops no DAG, and is told in the task's log."""
    import_string(path)(context)
