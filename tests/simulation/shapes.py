"""How the CRM is built in one seed: its tables, its mapping, and what its columns are at Enerflo.

Written down a second time beside sync.yaml: the same misreading must not sit in the engine and in what looks
after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from tests.simulation.branches import ADD_BRANCH, split
from tests.simulation.declared import COLUMN, MAX_LENGTH
from tests.simulation.mapped import Mapped, SyncYaml
from tests.simulation.values import Row, as_it_stands, plain, whole
from tests.simulation.versions import KEEP_VERSIONS, WITHOUT_KEYS
from tests.simulation.wide_columns import WIDE_COLUMNS, wide_mapping

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
DATES = ("started_at", "due_at", "completed_at")
_TOLERATED = ("system_size_kw", "contract_amount")


@dataclass(frozen=True)
class Table:
    """One CRM table: its key, the columns that name Enerflo's record, and what its columns are there."""

    key: tuple[str, ...]
    joins: dict[str, str]
    fields: dict[str, str]
    truth: str


_TABLES = {
    "installs": Table(
        ("enerflo_install_id",),
        {"enerflo_install_id": "install_id"},
        {
            **{name: name for name in ("deal_id", "customer_name", "system_size_kw", "panel_type")},
            **{name: name for name in ("panel_count", "battery_configuration", "contract_amount")},
            "status": "status_name",
        },
        "installs",
    ),
    "milestones": Table(
        ("enerflo_install_id", "milestone_id"),
        {"enerflo_install_id": "install_id", "milestone_id": "milestone_id"},
        {name: name for name in ("title", *DATES)},
        "milestones",
    ),
    "notes": Table(
        ("note_id",),
        {"enerflo_note_id": "note_id"},
        {"enerflo_install_id": "install_id", "body": "body"},
        "notes",
    ),
    "leads": Table(
        ("lead_id",),
        {"enerflo_customer_id": "customer_id"},
        {n: n for n in ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")},
        "customers",
    ),
    "change_orders": Table(
        ("enerflo_change_order_id",),
        {"enerflo_change_order_id": "change_order_id"},
        {
            **{"enerflo_install_id": "install_id", "status": "status", "signed_at": "signed_at"},
            **{"panel_type": "panel_type_new", "panel_count": "panel_count_new"},
            "battery_configuration": "battery_new",
        },
        "change_orders",
    ),
}
BY_ENERFLO = {
    "installs": {*_TABLES["installs"].fields, COLUMN} - {"status"},
    "milestones": {"title"},
    "change_orders": {*_TABLES["change_orders"].fields},
}
# Rows of this type stand outside ``where``.
OTHER_TYPE = "Roofing"
# After so long a change that was handed over is late.
LATE_HOURS = 2
# The tables whose changes are carried straight to Salesforce: their records have one external id. The others' changes
# are carried by a courier. And the columns of a record's id and of its last modification.
AT_SALESFORCE = ("installs", "notes", "leads", "change_orders")
RECORD_ID, MODIFIED = "sf_id", "modified_at"
# As a database does that keeps the time of the last change; people, who say the time themselves, may say it twice.
_TOUCH = """
create or replace function simulation.touch() returns trigger language plpgsql as $$
begin
    if new.updated_at is distinct from old.updated_at then return new; end if;
    new.updated_at := coalesce(nullif(current_setting('simulation.now', true), '')::timestamptz,
        old.updated_at + interval '1 microsecond');
    return new;
end $$;
create trigger touch before update on crm.{} for each row execute function simulation.touch();
"""
_OWN_KEYS = {"installs": ("job_id",), "milestones": ("step_id",)}


@dataclass(frozen=True)
class Shape:
    """One CRM.

    :param dates: the type of the milestones' dates: ``timestamptz``, ``date``, or ``text`` with days.
    :param declared: the type that the mapping declares for them.
    :param zone: whose days they are.
    :param text_keys: Enerflo's ids are text.
    :param own_keys: installs and milestones have keys of their own, and links to Enerflo beside them.
    :param unique: no two rows have the same id of Enerflo.
    :param marks: rows that were deleted stay, with ``is_deleted``.
    :param versions: an edit by people leaves the row of before behind, marked as deleted; no key is unique.
    :param numbered: each row has a number of the copy's own, ``copy_row``.
    :param copied: the jobs see a copy, and hand over what they would write (``write_to: changes``).
    :param salesforce: the CRM that they are a copy of is Salesforce, and changes of some are carried straight there.
    :param elsewhere: the tables are in a database of their own, whose rows get the time at which they are made.
    :param touched: rows get the time at which they are changed there, too.
    :param spelled: how people may spell an install's id: ``near``, where it is compared as it stands, or ``typed``,
        where the mapping says that it is a whole number; as Enerflo does where empty.
    :param chosen: only rows of a type count (``where``).
    :param branched: the rows of installs are of two branches, each a table of sync.yaml.
    :param wide_table: the table that has milestones in columns: ``permits`` or ``installs``; none where empty.
    :param hashed: the tables have row-level security, so that changed rows are found by kept hashes.
    :param lender: installs have a column that is mapped from a column which sync.yaml declares.
    :param policies: ``source_of_truth`` by table and column, where it is not the shipped one.
    :param seen: where people, and whoever looks on, see the tables under their first names.
    :param yaml: what sync.yaml says by now; of a shape that no day has, what it says in the beginning.
    """

    dates: str = "timestamptz"
    declared: str = "timestamp"
    zone: str = "UTC"
    text_keys: bool = False
    own_keys: bool = False
    unique: bool = True
    marks: bool = False
    versions: bool = False
    numbered: bool = False
    copied: bool = False
    salesforce: bool = False
    elsewhere: bool = False
    touched: bool = False
    branched: bool = False
    wide_table: str = ""
    spelled: str = ""
    chosen: bool = False
    hashed: bool = False
    lender: bool = False
    policies: Mapping[tuple[str, str], str] = field(default_factory=dict, hash=False)
    seen: str = "crm"
    yaml: SyncYaml = field(default_factory=SyncYaml, compare=False)

    @property
    def keeps_times(self) -> bool:
        """Return whether the CRM's database keeps the time of each change, whoever makes it."""
        return self.copied or self.touched

    @property
    def tables(self) -> dict[str, Table]:
        """Return the CRM's tables by name."""
        if not self.own_keys and not self.lender:
            return _TABLES
        keys = _OWN_KEYS if self.own_keys else {}
        more = {"installs": {COLUMN: COLUMN}} if self.lender else {}
        return {
            name: Table(keys.get(name, t.key), t.joins, {**t.fields, **more.get(name, {})}, t.truth)
            for name, t in _TABLES.items()
        }

    @property
    def living(self) -> str:
        """Return the condition that a row ``t`` of the CRM is neither marked as deleted nor outside."""
        marks = ["not t.is_deleted"] if self.marks else []
        # By JSON, since not all tables have the column.
        is_chosen = self.chosen and not self.yaml.says.whole
        outside = [f"to_jsonb(t) ->> 'record_type' is distinct from '{OTHER_TYPE}'"] if is_chosen else []
        return " and ".join((*marks, *outside)) or "true"

    def is_away(self, row: Row | None) -> bool:
        """Return whether a row is marked as deleted, or stands outside."""
        outside = row is not None and row.get("record_type") == OTHER_TYPE and not self.yaml.says.whole
        return row is not None and (bool(row.get("is_deleted")) or outside)

    def mapped(self, table: str) -> dict[str, str]:
        """Return the columns of a table that sync.yaml maps now, each with what it is at Enerflo."""
        unmapped = self.yaml.says.unmapped
        return {
            name: mine for name, mine in self.tables[table].fields.items() if (table, name) not in unmapped
        }

    def policy(self, table: str, column: str) -> str:
        """Return whose value stands where the two sides differ; nothing of a column that is not mapped."""
        says = self.yaml.says
        if (table, column) in says.unmapped:
            return ""
        if (said := dict(says.policies).get((table, column))) is not None:
            return said
        if column in BY_ENERFLO.get(table, ()):
            return "enerflo"
        shipped = {"installs": "newest", "milestones": "newest", "leads": "crm"}.get(table, "review")
        return self.policies.get((table, column), shipped)

    def plain(self, table: str, column: str, value: Any) -> Any:
        """Return a value as it is compared, however either side writes it."""
        said = self._plain(table, column, value)
        if (table, column) != ("installs", "status"):
            return said
        # No status of Enerflo has the name of a word.
        return {word.casefold(): mine.casefold() for mine, word in self.yaml.says.labels}.get(said, said)

    def _plain(self, table: str, column: str, value: Any) -> Any:
        if table == "milestones" and column in DATES and self.dates != "timestamptz":
            return self._day(value)
        return plain(column, value)

    def declared_plain(self, table: str, column: str, value: Any) -> Any:
        """Return a value as the mapping declares its comparison: spellings that only we know stay apart.

        A status is the word that is written, whatever words stand for by now.
        """
        if table == "leads" and column in ("mobile", "state", "zip"):
            return str(value).strip() if value is not None else None
        return self._plain(table, column, value)

    def tolerates(self, table: str, column: str, one: Any, other: Any) -> bool:
        """Return whether two plain values are so near that sync.yaml calls them equal."""
        usual = 0.005 if table == "installs" and column in _TOLERATED else 0.0
        most = dict(self.yaml.says.tolerances).get((table, column), usual)
        return bool(most) and None not in (one, other) and abs(one - other) <= Decimal(str(most))

    def _day(self, value: Any) -> date | None:
        if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
            return value
        text = value.isoformat() if isinstance(value, datetime) else str(value).strip()
        if len(text) == 10:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return (
            (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(ZoneInfo(self.zone)).date()
        )

    def join_of(self, name: str, row: Row) -> tuple[Any, ...]:
        """Return which record of Enerflo a CRM row names."""
        read = whole if self.spelled != "near" else as_it_stands
        return tuple(read(row[column]) for column in self.tables[name].joins)

    def key_of(self, name: str, row: Row) -> Row:
        """Return the key of a CRM row."""
        return {column: row[column] for column in self.tables[name].key}

    def link_of(self, name: str, join: tuple[Any, ...]) -> Row:
        """Return the columns by which the CRM names a record of Enerflo, as its rows have them."""
        values = [
            str(one) if self.text_keys and column == "enerflo_install_id" else one
            for column, one in zip(self.tables[name].joins, join, strict=True)
        ]
        return dict(zip(self.tables[name].joins, values, strict=True))

    def statements(self) -> list[str]:
        """Return what makes this CRM of the demo's tables, which are empty."""
        found = []
        if self.dates != "timestamptz":
            changed = ", ".join(f"alter column {name} type {self.dates}" for name in DATES)
            found.append(f"alter table crm.milestones {changed}")
        if self.own_keys:
            found += [
                "alter table crm.installs alter column enerflo_install_id drop not null,"
                " add column job_id text primary key",
                "alter table crm.milestones drop constraint milestones_pkey, add column step_id text primary key",
            ]
        if self.text_keys:
            found += [
                f"alter table crm.{name} alter column enerflo_install_id type text"
                for name in ("installs", "milestones", "notes", "change_orders")
            ]
        if self.marks:
            found += [
                f"alter table crm.{name} add is_deleted boolean not null default false" for name in _TABLES
            ]
        if self.numbered:
            found += [
                f"alter table crm.{name} add copy_row bigint generated by default as identity"
                for name in _TABLES
            ]
        if self.lender:
            found.append(f"alter table crm.installs add column {COLUMN} text")
        if self.chosen:
            found += [
                f"alter table crm.{name} add record_type text not null default 'Solar'"
                for name in ("installs", "milestones")
            ]
        if self.branched:
            found.append(ADD_BRANCH)
        if self.wide_table:
            columns = [f"{name} {one.type}" for name, one in WIDE_COLUMNS.items()]
            if self.wide_table == "permits":
                found.append(
                    "create table crm.permits (enerflo_install_id bigint primary key, updated_at timestamptz)"
                )
            found.append(f"alter table crm.{self.wide_table} add {', add '.join(columns)}")
        if self.salesforce:
            found += [
                f"alter table crm.{name} add {RECORD_ID} text, add {MODIFIED} timestamptz" for name in _TABLES
            ]
        if self.elsewhere:
            found += [
                f"alter table crm.{name} alter updated_at set default simulation.now()" for name in _TABLES
            ]
        if self.touched:
            found += [_TOUCH.format(name) for name in _TABLES]
        if self.hashed:
            found += [f"alter table crm.{name} enable row level security" for name in _TABLES]
        if self.versions:
            found.append(WITHOUT_KEYS)
            found += [KEEP_VERSIONS.format(name, ", ".join(self.tables[name].key)) for name in _TABLES]
        if self.unique and not self.own_keys and not self.versions:
            found.append("alter table crm.installs add primary key (enerflo_install_id)")
        else:
            found.append("create index on crm.installs (enerflo_install_id)")
        return found

    def configuration(self, path: str | None = None) -> SyncConfig:
        """Return the shipped configuration for this CRM, with writing switched on in both directions.

        :param path: from where the declared column is read; none is declared where None.
        """
        return _configuration(self, tuple(sorted(self.policies.items())), path, self.yaml.says)

    def _edit(self, config: dict[str, Any], path: str | None) -> None:
        tables = config["tables"]
        if path is not None:
            column = {"path": path, "type": "text", "max_length": MAX_LENGTH, "personal_data": False}
            config["columns"] = {"installs": {COLUMN: column}}
            if self.lender:
                mapped = {"enerflo": COLUMN, "type": "text", "source_of_truth": "enerflo"}
                tables["installs"]["fields"][COLUMN] = mapped
        if self.elsewhere:
            config["accounts"]["default"]["crm"] = {"url": "postgresql://crm"}
        if self.copied:
            for name in _TABLES:
                tables[name]["write_to"] = {"changes": "sync.crm_changes", "late_hours": LATE_HOURS}
        if self.salesforce:
            config["accounts"]["default"]["salesforce"] = {"url": "https://sales.example", "token": "given"}
            for name in AT_SALESFORCE:
                there = {"object": name, "id": RECORD_ID, "fields": {MODIFIED: "LastModifiedDate"}}
                tables[name] |= {"write_to": "salesforce", "salesforce": {**there, "late_hours": LATE_HOURS}}
        if self.marks:
            for name in _TABLES:
                tables[name]["deleted_when"] = {"is_deleted": True}
        for (table, column), policy in self.policies.items():
            tables[table]["fields"][column]["source_of_truth"] = policy
        milestones = tables["milestones"]
        if self.dates != "timestamptz":
            milestones["time_zone"] = self.zone
            for name in DATES:
                milestones["fields"][name]["type"] = self.declared
                if self.declared == "date":
                    milestones["fields"][name].pop("precision", None)
        if self.chosen:
            for name in ("installs", "milestones"):
                tables[name]["where"] = "record_type = 'Solar'"
        if self.spelled == "typed":
            for name in ("installs", "milestones"):
                read = {"enerflo": "install_id", "type": "integer", "trim": True}
                tables[name]["key"] = {**tables[name]["key"], "enerflo_install_id": read}
        if self.wide_table:
            marks = tables["installs"].get("deleted_when") if self.wide_table == "installs" else None
            tables["permits"] = wide_mapping(self.wide_table, marks)
            if self.chosen and self.wide_table == "installs":
                tables["permits"]["where"] = tables["installs"]["where"]
        if self.own_keys:
            for name, text in (("installs", "J{install_id}"), ("milestones", "S{install_id}-{milestone_id}")):
                (column,) = _OWN_KEYS[name]
                tables[name]["join"] = tables[name]["key"]
                tables[name]["key"] = [column]
                tables[name]["on_insert"] = {column: text}


@cache
def _configuration(shape: Shape, _policies: Any, path: str | None, says: Mapped) -> SyncConfig:
    config = yaml.safe_load(SHIPPED.read_text())
    shape._edit(config, path)
    says.edit(config)
    if shape.branched:
        split(config["tables"])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "sync.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return load_config(file, {})
