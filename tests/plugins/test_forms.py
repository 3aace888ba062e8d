"""A field of a form is Airflow's own, but for how often its default is validated."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import jsonschema
import pytest
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from enerflo_airflow.forms import FormField

FIELDS: dict[str, dict[str, Any]] = {
    "names": {"default": ["a"], "type": "array", "items": {"type": "string"}, "title": "Names"},
    "full": {"default": False, "type": "boolean", "description": "Everything."},
    "start": {"default": None, "type": ["null", "string"], "format": "date"},
}


def dag_of(kind: type[Param], dag_id: str = "form", **fields: Any) -> DAG:
    made = {name: kind(**options) for name, options in (fields or FIELDS).items()}
    with DAG(dag_id, schedule="@daily", params=made) as dag:
        BaseOperator(task_id="first") >> BaseOperator(task_id="second")
    return dag


def test_a_dag_is_serialized_as_with_airflows_own_fields() -> None:
    ours, theirs = (DagSerialization.to_dict(dag_of(kind)) for kind in (FormField, Param))
    assert ours == theirs
    again = DagSerialization.deserialize_dag(ours["dag"])
    assert again.params.dump() == {"names": ["a"], "full": False, "start": None}


def test_a_default_is_validated_once_for_all_dags_and_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: Counter[str] = Counter()
    check = jsonschema.validate

    def counted(value: object, schema: dict[str, Any], **options: Any) -> None:
        checked[repr(value)] += 1
        check(value, schema, **options)

    monkeypatch.setattr(jsonschema, "validate", counted)
    made = {name: FormField(**options) for name, options in FIELDS.items()}
    for number in range(20):
        with DAG(f"form{number}", schedule="@daily", params=made) as dag:
            BaseOperator(task_id="first") >> BaseOperator(task_id="second")
        DagSerialization.to_dict(dag)
    assert checked == {"['a']": 1, "False": 1, "None": 1}


def test_a_default_that_does_not_fit_is_refused_every_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="not allowed to define a Schedule"):
            dag_of(FormField, full={"default": "perhaps", "type": "boolean"})
    # One schema, two defaults.
    field = FormField(1, type="integer")
    assert field.resolve() == 1
    other = copy.copy(field)
    other.value = "1"
    with pytest.raises(ParamValidationError):
        other.resolve()


def test_what_somebody_fills_in_is_validated_and_stays_with_one_task() -> None:
    dag = dag_of(FormField)
    first, second = dag.get_task("first").params, dag.get_task("second").params
    with pytest.raises(ParamValidationError):
        first["names"] = [1]
    first["names"] = ["b"]
    first.get_param("names").value.append("c")
    assert first["names"] == ["b", "c"]
    assert second["names"] == dag.params["names"] == ["a"]
