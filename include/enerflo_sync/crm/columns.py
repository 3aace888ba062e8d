"""Columns of the mirror that sync.yaml declares, each with its path in Enerflo's records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from enerflo_sync.crm.mapping import MIRROR_TABLES, KindName
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import Problem, listed
from enerflo_sync.crm.source import Source, Spot
from enerflo_sync.masking import PersonalData
from enerflo_sync.warehouse.declared import TYPES, DeclaredColumn
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

_Lax = Field(strict=False)

# PostgreSQL accepts such a name without quotes, so everybody can write it in a query.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,58}")
_STEP = re.compile(r"[^.\s]+")

# Names with another meaning in statements, or that need quotes to be a column.
RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint
    create current_date current_role current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign from grant group having in initially intersect into
    lateral leading limit localtime localtimestamp not null offset on only or order placing primary
    references returning select session_user some symmetric table then to trailing true union unique user
    using variadic when where window with ctid oid tableoid xmin xmax cmin cmax
    """.split()
)


class ColumnType(StrEnum):
    """The type of a declared column: how Enerflo's value is read, and what PostgreSQL stores."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"

    @property
    def sqlalchemy(self) -> sa.types.TypeEngine[Any]:
        """Return the type as tables declare it."""
        return TYPES[self]


class ColumnDeclaration(Options):
    """One column of a mirror table, filled with the value at a path of Enerflo's records."""

    path: str = Field(
        description="Where the value stands in what Enerflo sends: names and list positions with dots between"
        " them, as in loan.lender or equipment.modules.0.name. Of a milestone: within its own row."
    )
    type: Annotated[ColumnType, _Lax] = Field(description="How it is read and stored.")
    personal_data: Annotated[PersonalData, _Lax] | Literal[False] | None = Field(
        None,
        description="The class of personal data, masked in every output. Absent: text and json are masked as"
        " free_text, other types are shown; false: shown as it is.",
    )
    max_length: int = Field(
        10_000, ge=1, le=1_000_000, description="text, json: longer values are left out and counted."
    )

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the names and positions of the path, outermost first."""
        return tuple(self.path.split("."))

    @property
    def personal_kind(self) -> PersonalData:
        """Return how values of the column are masked in every output."""
        if self.personal_data is None:
            hidden = self.type in (ColumnType.TEXT, ColumnType.JSON)
            return PersonalData.FREE_TEXT if hidden else PersonalData.NONE
        return self.personal_data or PersonalData.NONE


Columns = dict[KindName, dict[str, ColumnDeclaration]]


def is_declarable(steps: Iterable[str]) -> bool:
    """Return whether ``columns`` can express a path: no step is empty or contains a blank or a dot."""
    return all(_STEP.fullmatch(step) for step in steps)


def declared(columns: Columns) -> list[DeclaredColumn]:
    """Return the declared columns as the warehouse stores them, in the order of the file."""
    return [
        DeclaredColumn(MIRROR_TABLES[table], name, column.steps, column.type.value, column.max_length)
        for table, by_name in columns.items()
        for name, column in by_name.items()
    ]


def column_places(columns: Columns, spot: Callable[..., Spot]) -> dict[str, str]:
    """Return file, line and option of each declared column, by its name in the form ``installs.lender``.

    :param spot: of the configuration: returns where an option is.
    """
    return {
        f"{MIRROR_TABLES[table]}.{name}": f"{spot('columns', table, name)}: columns.{table}.{name}"
        for table, by_name in columns.items()
        for name in by_name
    }


def column_problems(columns: Columns, source: Source) -> Iterator[Problem]:
    """Yield what is wrong with the declared columns: their names and their paths."""
    for table, by_name in columns.items():
        built_in = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[table]}"].columns.keys()
        for name, column in by_name.items():
            place = ("columns", table, name)
            if not _NAME.fullmatch(name):
                expected = "small letters, digits and _, not a digit first, 59 at most"
                yield source.problem(place, f"the column name '{name}'", expected)
            elif name in RESERVED:
                yield source.problem(place, f"the reserved word {name}", f"another name, as in {name}_value")
            elif name in built_in:
                yield source.problem(
                    place,
                    f"a second column {name} of {MIRROR_SCHEMA}.{MIRROR_TABLES[table]}",
                    f"a name that the table does not have: its own are {listed(sorted(built_in), limit=40)}",
                )
            if not is_declarable(column.steps):
                yield source.problem(
                    (*place, "path"),
                    f"the path '{column.path}'",
                    "names and list positions with one dot between them, as in equipment.modules.0.name",
                )
