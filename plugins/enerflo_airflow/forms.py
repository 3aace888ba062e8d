"""Fields of the forms that start runs, and of those that ask people."""

from __future__ import annotations

import copy
import json
from typing import Any, ClassVar

from airflow.sdk import Param
from airflow.sdk.definitions.param import NOTSET


class FormField(Param):
    """A field of a form, whose default is validated once, however many accounts have a DAG with it.

    Airflow validates a default whenever a DAG, or any task of it, is made or serialized, and each time checks
    the schema itself first: with 200 accounts that was two thirds of all the time that parsing took.
    """

    # By schema and default; the schema is kept so that no other one gets its id.
    _sound: ClassVar[dict[tuple[int, str], Any]] = {}

    def resolve(self, value: Any = NOTSET, suppress_exception: bool = False) -> Any:
        """Return the value of the field, as Airflow does."""
        if value is not NOTSET or self.value is NOTSET:
            return super().resolve(value, suppress_exception)
        key = id(self.schema), json.dumps(self.value)
        if key not in self._sound:
            resolved = Param.resolve(self)
            self._sound[key] = self.schema
            return resolved
        return self.value

    def __copy__(self) -> FormField:
        copied = FormField.__new__(FormField)
        copied.__dict__ |= self.__dict__
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None) -> FormField:
        # Each task has its own value; nobody changes a schema.
        copied = copy.copy(self)
        if isinstance(self.value, (list, dict)):
            copied.value = copy.deepcopy(self.value)
        return copied


# Airflow serializes what has this very name, and takes anything else for a value.
FormField.__module__, FormField.__name__ = Param.__module__, Param.__name__
