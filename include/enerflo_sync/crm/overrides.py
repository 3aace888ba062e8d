"""Options of one account that replace those of a shared table: the same ones, each optional."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, create_model

from enerflo_sync.crm.fields import FieldMapping, WideColumn
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.options import Options


def _partial(model: type[Options], name: str, **others: Any) -> type[Options]:
    """Return ``model`` with every option optional, for an account's overrides."""
    options: dict[str, Any] = {}
    for option, info in model.model_fields.items():
        annotation: Any = info.annotation
        for constraint in info.metadata:
            annotation = Annotated[annotation, constraint]
        optional = others.get(option, annotation | None)
        options[option] = (optional, Field(None, description=info.description))
    text = f"Options of one account that replace those of the shared {model.__name__}."
    return create_model(name, __base__=Options, __doc__=text, **options)


FieldOverride = _partial(FieldMapping, "FieldOverride")
WideColumnOverride = _partial(WideColumn, "WideColumnOverride")
TableOverride = _partial(
    TableMapping,
    "TableOverride",
    fields=dict[str, FieldOverride | None] | None,  # type: ignore[valid-type]
    columns=dict[str, WideColumnOverride | None] | None,  # type: ignore[valid-type]
)
