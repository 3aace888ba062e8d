"""How one CRM table corresponds to one mirror table: keys, fields, and how each field is compared."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import Field, PrivateAttr, model_validator

from enerflo_sync.crm.copies import INSIDE, ChangesTo, WriteTo
from enerflo_sync.crm.fields import (
    Direction,
    FieldMapping,
    FieldType,
    NullRule,
    Precision,
    SourceOfTruth,
    WideColumn,
)
from enerflo_sync.crm.modes import Mode
from enerflo_sync.crm.names import quoted, relation
from enerflo_sync.crm.options import Key, KeyColumn, KeyPair, Options, mirror_columns_of
from enerflo_sync.crm.salesforce import SalesforceObject
from enerflo_sync.crm.templates import columns_of
from enerflo_sync.masking import PersonalData
from enerflo_sync.resources.registry import KINDS
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, kind_of_column, metadata

# Names for other modules: a table's fields and its mode.
__all__ = [
    "Direction",
    "FieldMapping",
    "FieldType",
    "Mode",
    "NullRule",
    "Precision",
    "SourceOfTruth",
    "WideColumn",
]

_Lax = Field(strict=False)


class RecordKind(StrEnum):
    """The kinds of records for which the code has special rules; :data:`MIRROR_TABLES` has every kind."""

    LEADS = "leads"
    INSTALLS = "installs"
    MILESTONES = "milestones"
    NOTES = "notes"
    CHANGE_ORDERS = "change_orders"


# In ``deleted_when``: any value that is not null.
NOT_NULL = "not_null"

# By kind, in the order of reports and plans. Leads become customers at Enerflo.
MIRROR_TABLES = {kind: str(part.table.name) for kind, (_, part) in KINDS.items()}
if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(MIRROR_TABLES)]


class Layout(StrEnum):
    """How a CRM table holds milestones: a row for each, or a row for each install with columns for them."""

    LONG = "long"
    WIDE = "wide"


class Side(StrEnum):
    """One of the two sides that are kept in agreement."""

    CRM = "crm"
    ENERFLO = "enerflo"


class Unlinked(StrEnum):
    """What happens with CRM rows without a key."""

    REPORT = "report"
    IGNORE = "ignore"


class TableMapping(Options):
    """One CRM table: where it is, how its rows are matched, and which columns are compared."""

    of: KindName | None = Field(
        None,
        description="Which of Enerflo's records the rows are; if absent, the table's own name says it.",
    )
    crm_table: str = Field(
        description='The table as schema.table. Put a name that contains a dot in double quotes: "a.b".c'
    )
    where: str | None = Field(
        None,
        description="An SQL condition over the table's own columns that gives the same result for the same "
        "row at any time. Other rows are ignored.",
    )
    key: Key = Field(
        description="The CRM table's key. Either {crm column: mirror column}, or a list of CRM columns when "
        "rows are matched by others (join). A mirror column may have options: {enerflo: install_id, type: "
        "integer, trim: true}."
    )
    join: dict[str, KeyPair] | None = Field(
        None,
        description="{crm column: mirror column} by which rows are matched, if they are not matched by key; "
        "options as in key.",
    )
    unlinked: Annotated[Unlinked, _Lax] = Field(
        Unlinked.REPORT,
        description="CRM rows without a key: report shows each as one that Enerflo lacks, ignore only counts "
        "them.",
    )
    updated_at: str | None = Field(
        None,
        description="The CRM column with the time of the row's last change, for newest and in_flight.",
    )
    updated_at_set_at_commit: bool = Field(
        False,
        description="The CRM itself sets updated_at at every change, just before its commit, and nobody sets "
        "it back. Then changed rows are found by its index, without reading all rows.",
    )
    arrived_at: str | None = Field(
        None,
        description="The CRM column with the time at which this copy got the row, such as _fivetran_synced. "
        "Then changed rows are found by its index, without reading all rows.",
    )
    arrives_within_hours: float | None = Field(
        None,
        gt=0,
        le=24 * 90,
        description="For a copy: a row arrives at least every so many hours (by arrived_at, or the tool's own"
        " column). Otherwise a reconciliation is no all-clear, and says since when.",
    )
    time_zone: str = Field("UTC", description="Zone of CRM times that have none, as in America/Denver.")
    write_to: WriteTo = Field(
        "table",
        description="Where approved changes of the CRM go. table: into the table itself. If the table is "
        "only a copy: into an outbox that a reverse ETL tool reads (changes, or {changes: schema.table} for "
        "your own), or straight to the CRM (salesforce).",
    )
    salesforce: SalesforceObject | None = Field(
        None, description="For write_to: salesforce: the object of Salesforce that the table is a copy of."
    )
    reconcile: bool = Field(True, description="Whether the reconciliation compares this table.")
    mode: Annotated[Mode | None, _Lax] = Field(
        None, description="Which side may be written; the account's mode if absent."
    )
    create_only: bool = Field(
        False, description="Rows are created on the other side and never changed there afterwards."
    )
    create_in: tuple[Annotated[Side, _Lax], ...] = Field(
        (Side.CRM,),
        strict=False,
        description="The sides on which a record is created that only the other side has.",
    )
    create_when: dict[str, list[str]] = Field(
        default_factory=dict,
        description="{CRM column: words}: a CRM row is created in Enerflo once it has one of the words.",
    )
    delete_in: tuple[Annotated[Side, _Lax], ...] = Field(
        (),
        strict=False,
        description="The sides on which a record is deleted after the other side deleted it; only crm works.",
    )
    void_in: tuple[Annotated[Side, _Lax], ...] = Field(
        (Side.CRM,),
        strict=False,
        description="The sides on which an install may get a voided status.",
    )
    deleted_when: dict[str, bool | int | str] = Field(
        default_factory=dict,
        description="{CRM column: value, or not_null}: a CRM row with any of these values counts as deleted, "
        "and is never written. If delete_in allows deletions, a plan sets the first of these columns that is"
        " not a copy tool's own (_fivetran_deleted).",
    )
    on_insert: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="{CRM column: text} for new CRM rows only. {name} stands for a column of the mirror, "
        "{a|b} for the first that is not null; of a list, the first text without a null column is used.",
    )
    adopt: dict[str, KeyPair] = Field(
        default_factory=dict,
        description="{CRM column: mirror column} by which the record of a CRM row is recognised if the row "
        "has no id of Enerflo yet; options as in key.",
    )
    layout: Annotated[Layout, _Lax] = Field(
        Layout.LONG,
        description="For milestones: long has a row for each milestone; wide has a row for each install, with"
        " columns for its milestones (columns). Rows of a wide table are neither created nor deleted.",
    )
    fields: dict[str, FieldMapping] = Field(
        default_factory=dict,
        description="The compared columns, by the name they have in the CRM table.",
        min_length=1,
    )
    columns: dict[str, WideColumn] = Field(
        default_factory=dict,
        description="layout wide: the compared columns in place of fields, each with its milestone.",
        min_length=1,
    )

    # By name: the declared columns of the mirror's table (``columns``), with type and class.
    _declared: dict[str, tuple[sa.types.TypeEngine[Any], PersonalData]] = PrivateAttr(default_factory=dict)
    # Our copy of the CRM's table, if that is in another database (accounts.*.crm).
    _kept_in: tuple[str, str] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _compare_wide_columns(self) -> Self:
        """Compare a wide table's columns like the fields of any other table; no row is ever inserted."""
        if self.is_wide and "fields" not in self.model_fields_set:
            self.__dict__["fields"] = dict(self.columns)
        if self.is_wide and "create_in" not in self.model_fields_set:
            self.__dict__["create_in"] = ()
        return self

    @property
    def is_wide(self) -> bool:
        """Return whether each row is an install whose columns are fields of its milestones."""
        return self.layout is Layout.WIDE

    @property
    def section(self) -> str:
        """Return the option that holds the compared columns."""
        return "columns" if self.is_wide else "fields"

    def key_kind(self, name: str) -> str:
        """Return the kind of the records that a row's key names; for a wide table, installs."""
        return RecordKind.INSTALLS if self.is_wide else self.kind(name)

    def kind(self, name: str) -> str:
        """Return the kind of records in the table that ``sync.yaml`` calls ``name``."""
        return self.of or name

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Return the CRM columns that identify a row."""
        return tuple(self.key)

    @property
    def crm_columns(self) -> tuple[str, ...]:
        """Return every column of the CRM table that the mapping names, each once."""
        times = [name for name in (self.updated_at, self.arrived_at) if name is not None]
        named = (*self.key_columns, *self._joins, *self.adopt, *self.fields, *times)
        others = (*self.deleted_when, *self.create_when, *self.on_insert)
        if self.to_salesforce is not None:
            others = (*others, self.to_salesforce.id)
        return tuple(dict.fromkeys((*named, *others)))

    @property
    def join_columns(self) -> dict[str, str]:
        """Return the CRM columns by which rows are matched, each with its mirror column."""
        return mirror_columns_of(self._joins)

    @property
    def _joins(self) -> dict[str, KeyPair]:
        return self.join or (self.key if isinstance(self.key, dict) else {})

    def key_options(self, column: str) -> KeyColumn | None:
        """Return how the values of a column of key or join are compared; None: without any conversion."""
        pair = self._joins.get(column)
        return pair if isinstance(pair, KeyColumn) else None

    @property
    def adopt_columns(self) -> dict[str, str]:
        """Return the CRM columns by which a row recognises its record, each with its mirror column."""
        return mirror_columns_of(self.adopt)

    @property
    def personal_kinds(self) -> dict[str, PersonalData]:
        """Return how the values of each mapped CRM column are masked, for fields and other keys."""
        keys = self.adopt_columns | self.join_columns
        return {
            **{column: self._kind_of(mirror) for column, mirror in keys.items()},
            **{column: field.personal_kind for column, field in self.fields.items()},
        }

    def _kind_of(self, mirror: str) -> PersonalData:
        return self._declared[mirror][1] if mirror in self._declared else kind_of_column(mirror)

    @property
    def goes_by_time(self) -> bool:
        """Return whether a field takes the value of the side that changed later."""
        return self.has_policy(SourceOfTruth.NEWEST)

    def has_policy(self, *policies: SourceOfTruth) -> bool:
        """Return whether a field has one of these values of ``source_of_truth``."""
        return any(field.source_of_truth in policies for field in self.fields.values())

    @property
    def mirror_columns(self) -> frozenset[str]:
        """Return all columns of the mirror that the mapping names."""
        made = (name for texts in self.on_insert.values() for name in columns_of(texts))
        fields = (field.enerflo for field in self.fields.values())
        if self.is_wide:
            return frozenset(fields)
        return frozenset((*self.join_columns.values(), *fields, *self.adopt_columns.values(), *made))

    @property
    def declared_rules(self) -> list[tuple[str, ...]]:
        """Return the rules that sync.yaml sets explicitly: only a declared rule is a policy."""
        fields = [
            (column, "null_overwrites")
            for column, field in self.fields.items()
            if "null_overwrites" in field.model_fields_set
        ]
        return [*([("void_in",)] if "void_in" in self.model_fields_set else []), *sorted(fields)]

    @property
    def relation(self) -> tuple[str, str]:
        """Return schema and name of the table that is read: the CRM's own table, or our copy of it."""
        return self._kept_in or relation(self.crm_table)

    @property
    def condition(self) -> str | None:
        """Return ``where`` for :attr:`relation`; in a copy, the CRM's database has already evaluated it."""
        return self.where if self._kept_in is None or self.where is None else quoted(INSIDE)

    def kept_in(self, copy: tuple[str, str], *, empty_is_null: bool = False) -> Self:
        """Return the mapping of a table in another database, which is read from our copy of it.

        :param empty_is_null: text fields treat null as the empty text, unless they ignore null.
        """
        texts = {name: _empty_is_null(field) for name, field in self.fields.items()} if empty_is_null else {}
        kept = self.model_copy(update={"fields": texts} if texts else None)
        kept._kept_in = copy
        return kept

    @property
    def is_kept(self) -> bool:
        """Return whether the CRM's table is in another database and read from our copy."""
        return self._kept_in is not None

    @property
    def is_carried(self) -> bool:
        """Return whether we carry changes to the CRM's own database after handing them over."""
        return self.is_kept and self.write_to == "table"

    @property
    def to_salesforce(self) -> SalesforceObject | None:
        """Return the object of Salesforce to which we carry changes; None if we do not."""
        return self.salesforce if self.write_to == "salesforce" else None

    @property
    def handed_to(self) -> ChangesTo | None:
        """Return where changes are handed over; None if the table itself is written."""
        if self.is_carried:
            return ChangesTo.model_validate({})
        if self.write_to == "salesforce":
            hours = {} if self.salesforce is None else {"late_hours": self.salesforce.late_hours}
            return ChangesTo.model_validate(hours)
        if self.write_to == "table":
            return None
        return ChangesTo.model_validate({}) if self.write_to == "changes" else self.write_to

    def content(self, name: str) -> dict[str, Any]:
        """Return the mapping of the table ``name`` for its hash, without options of implied values.

        So a table of its own name's kind that is written itself keeps the hash that earlier versions gave it.
        """
        usual = {"where": self.where is None, "unlinked": self.unlinked is Unlinked.REPORT}
        usual |= {"of": self.kind(name) == name, "write_to": True, "salesforce": self.to_salesforce is None}
        usual |= dict.fromkeys(("layout", "columns"), not self.is_wide)
        # When rows have to arrive says nothing of what is compared.
        usual["arrives_within_hours"] = True
        said = self.model_dump(mode="json", exclude={option for option, unsaid in usual.items() if unsaid})
        if self.is_kept:
            said["is_kept"] = True
        return said if self.handed_to is None else said | {"write_to": self.handed_to.model_dump(mode="json")}

    @property
    def joined_by_key(self) -> bool:
        """Return whether the CRM table's key is also what rows are matched by."""
        return self.join is None

    @property
    def install_column(self) -> str | None:
        """Return the CRM column with the install of a row, if one is mapped."""
        pairs = [*self.join_columns.items(), *((name, field.enerflo) for name, field in self.fields.items())]
        return next((name for name, mirror in pairs if mirror == "install_id"), None)


def _empty_is_null(field: FieldMapping) -> FieldMapping:
    """Return a text field for which null equals the empty text."""
    if field.type is not FieldType.TEXT or field.null is not NullRule.DISTINCT:
        return field
    return field.model_copy(update={"null": NullRule.EMPTY_IS_NULL})


def mirror_type(kind: str, mapping: TableMapping, column: str) -> sa.types.TypeEngine[Any]:
    """Return the type of a column of the mirror, from the schema or from ``columns``."""
    built_in = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[kind]}"].c
    return built_in[column].type if column in built_in else mapping._declared[column][0]
