"""The base of all sections of sync.yaml, and the options of a key column."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Options(BaseModel):
    """Base of every section: an unknown option is an error, and nothing is converted silently.

    ``defer_build``: pydantic builds the sections of a file with the whole, and not each one when its class
    is imported. A poll that finds nothing takes 0.10 s of processor time less of 0.85.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class KeyType(StrEnum):
    """The domain in which both sides' values of a key are compared."""

    TEXT = "text"
    INTEGER = "integer"


class KeyColumn(Options):
    """The mirror column that a key column corresponds to, and how the two are compared."""

    enerflo: str = Field(description="The mirror's column that holds Enerflo's value.")
    type: Annotated[KeyType, Field(strict=False)] = Field(
        KeyType.TEXT,
        description="The domain in which the two values are compared. With integer, 0001234 and 1234.0 are"
        " 1234, and a text that is not a whole number is not a key.",
    )
    trim: bool = Field(False, description="White space at both ends does not count.")
    strip_zeros: bool = Field(False, description="text: zeros in front do not count.")
    fold_case: bool = Field(False, description="text: upper and lower case are the same.")


def _form_of_pair(value: Any) -> str:
    return "options" if isinstance(value, dict | KeyColumn) else "column"


def _form_of_key(value: Any) -> str:
    return "list" if isinstance(value, list) else "pairs"


# A mirror column: compared without conversion, or with options.
KeyPair = Annotated[
    Annotated[str, Tag("column")] | Annotated[KeyColumn, Tag("options")], Discriminator(_form_of_pair)
]
Key = Annotated[
    Annotated[dict[str, KeyPair], Tag("pairs")] | Annotated[list[str], Tag("list")],
    Discriminator(_form_of_key),
]


def mirror_columns_of(pairs: Mapping[str, KeyPair]) -> dict[str, str]:
    """Return the CRM columns of pairs, each with its mirror column."""
    return {column: pair.enerflo if isinstance(pair, KeyColumn) else pair for column, pair in pairs.items()}
