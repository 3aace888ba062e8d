"""One compared column: the mirror's column that it corresponds to, and how the two values are compared."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from enerflo_sync.crm.options import Options
from enerflo_sync.masking import PersonalData
from enerflo_sync.warehouse.schema import kind_of_column

_Lax = Field(strict=False)


class FieldType(StrEnum):
    """The domain in which two values are compared."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    TIMESTAMP = "timestamp"
    DATE = "date"
    BOOLEAN = "boolean"
    JSON = "json"


class Precision(StrEnum):
    """The unit to which times are cut before they are compared."""

    MICROSECOND = "microsecond"
    SECOND = "second"
    MINUTE = "minute"
    DAY = "day"


class NullRule(StrEnum):
    """What NULL is equal to: only itself, the empty text as well, or anything."""

    DISTINCT = "distinct"
    EMPTY_IS_NULL = "empty_is_null"
    IGNORE = "ignore"


class SourceOfTruth(StrEnum):
    """Which side's value is kept when the two differ (design §8)."""

    ENERFLO = "enerflo"
    CRM = "crm"
    NEWEST = "newest"
    REVIEW = "review"


# Where either side's change may be taken, so that it matters whether a side shows an older state again.
EITHER_SIDE = (SourceOfTruth.NEWEST, SourceOfTruth.REVIEW)


class Direction(StrEnum):
    """In which directions a field's value may be written."""

    BOTH = "both"
    TO_CRM = "to_crm"
    TO_ENERFLO = "to_enerflo"
    NONE = "none"


class FieldMapping(Options):
    """One column of the CRM table, the mirror column it corresponds to, and how they are compared."""

    enerflo: str = Field(description="The mirror's column that holds Enerflo's value.")
    type: Annotated[FieldType, _Lax] = Field(description="The domain in which the two values are compared.")
    tolerance: float | None = Field(
        None, ge=0, description="number: the largest difference, in the field's unit, that counts as equal."
    )
    tolerance_percent: float | None = Field(
        None,
        ge=0,
        description="number: the same in percent of Enerflo's value; the larger tolerance counts.",
    )
    precision: Annotated[Precision, _Lax] = Field(
        Precision.SECOND, description="timestamp: times are cut to this unit before they are compared."
    )
    time_zone: str | None = Field(
        None,
        description="Zone of CRM times without one, and of the day's limits; the table's zone if absent.",
    )
    trim: bool = Field(False, description="text: white space at both ends does not count.")
    fold_case: bool = Field(False, description="text: upper and lower case are the same.")
    null: Annotated[NullRule, _Lax] = Field(
        NullRule.DISTINCT,
        description="What NULL equals: itself (distinct), also the empty text (empty_is_null), or anything "
        "(ignore).",
    )
    source_of_truth: Annotated[SourceOfTruth, _Lax] = Field(
        SourceOfTruth.REVIEW,
        description="Which side's value is kept if the two differ: enerflo, crm, newest (the side that"
        " changed later), or review (a person decides).",
    )
    null_overwrites: bool = Field(
        False, description="Whether a null on the winning side removes the other side's value."
    )
    direction: Annotated[Direction, _Lax] = Field(
        Direction.BOTH, description="On which side the field may be written, whichever side's value is kept."
    )
    protected: bool = Field(False, description="A plan that changes this field waits for a person.")
    personal_data: Annotated[PersonalData, _Lax] | Literal[False] | None = Field(
        None,
        description="The class of personal data: how the value is masked in every output. Absent: as the "
        "mirror's column; false: shown as it is.",
    )
    values: dict[str, str] = Field(
        default_factory=dict,
        description="{Enerflo's value: the CRM's label}. Other values are the same on both sides.",
    )

    # The declaration of the mirror's column, if ``columns`` declares it.
    _declared_kind: PersonalData | None = PrivateAttr(None)

    @property
    def personal_kind(self) -> PersonalData:
        """Return how values are masked in every output: as declared, or else as the mirror's column."""
        if self.personal_data is None:
            return self._declared_kind or kind_of_column(self.enerflo)
        return self.personal_data or PersonalData.NONE


class WideColumn(FieldMapping):
    """One column of a wide CRM table, and the field of one milestone that it corresponds to."""

    milestone: Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)] = Field(
        description="The milestone, by its title (case and outer blanks do not count) or by its id, which a"
        " new title at Enerflo leaves as it is."
    )

    @property
    def called(self) -> str:
        """Return how a sentence names the milestone."""
        return f"milestone {self.milestone!r}"
