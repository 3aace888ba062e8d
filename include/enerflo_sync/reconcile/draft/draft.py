"""``enerflo-sync init`` with a warehouse: draft the tables of sync.yaml from the warehouse's own tables."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from enerflo_sync.crm.doctor import Finding, Severity, check_mapping
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.problems import InvalidConfigurationError, Problem, nearest
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.draft.drafted import DraftedTable, one_line
from enerflo_sync.reconcile.draft.identify import Match, by_names, matches
from enerflo_sync.reconcile.draft.look import candidate_of, readable_schemas, readable_tables
from enerflo_sync.reconcile.draft.mirrored import Mirror
from enerflo_sync.reconcile.draft.tables import draft_table, draft_wide
from enerflo_sync.reconcile.fit.preview import SECONDS
from enerflo_sync.shipped import shipped

_BEGIN = re.compile(r"^tables:.*", re.MULTILINE | re.DOTALL)
# In the order of sync.yaml.
_KINDS = (
    RecordKind.INSTALLS,
    RecordKind.MILESTONES,
    RecordKind.NOTES,
    RecordKind.LEADS,
    RecordKind.CHANGE_ORDERS,
)
_ONLY_NAMES = "The mirror holds no install yet: only names and types of columns were looked at."


@dataclass(frozen=True)
class Draft:
    """A drafted file.

    :param text: the whole sync.yaml; the shipped file if no table was recognised.
    :param remarks: sentences about the draft for the person who runs the command.
    """

    text: str
    tables: Sequence[DraftedTable] = ()
    remarks: Sequence[str] = ()


def draft(connection: sa.Connection, schema: str | None = None) -> Draft:
    """Return a sync.yaml for the warehouse; reads only.

    :param connection: in a transaction; the draft sets its statement timeout.
    :param schema: the one that holds the CRM's tables; otherwise all are looked into.
    :raises ConfigurationError: the schema has no table that the role can read.
    """
    if schema is not None and not readable_tables(connection, schema):
        raise _no_table(connection, schema)
    connection.exec_driver_sql(f"set local statement_timeout = '{SECONDS}s'")
    # In a checkout, the packaged file may be the team's own, with its own accounts.
    account = next(iter(load_config(shipped("sync.yaml"), {}).accounts))
    drafter = _Drafter(connection, account, schema)
    tables = drafter.tables()
    whole = shipped("sync.yaml").read_text(encoding="utf-8")
    if not tables:
        return Draft(whole, remarks=("No table was recognised: its tables are the demo's.", *drafter.remarks))
    if drafter.mirror.is_empty:
        drafter.remarks.insert(0, _ONLY_NAMES)
    tables = drafter.without_errors(whole, tables)
    return Draft(_text(whole, tables, drafter.remarks), tables, tuple(drafter.remarks))


def _no_table(connection: sa.Connection, schema: str) -> ConfigurationError:
    there = readable_schemas(connection)
    near = nearest(schema, there)
    known = f"tables of the schemas {', '.join(there[:10])}" if there else "no table of any schema"
    return ConfigurationError(
        f"no table of schema {schema} can be read.",
        where="--crm",
        next_step=f"Did you mean {near}?" if near else f"The role can read {known}.",
    )


def not_drafted(reason: str) -> Draft:
    """Return the shipped file, with the reason why no table was drafted."""
    whole = shipped("sync.yaml").read_text(encoding="utf-8")
    return Draft(whole, remarks=(f"No table was drafted: {reason}",))


class _Drafter:
    """Drafts the tables of one account and collects remarks about them."""

    def __init__(self, connection: sa.Connection, account: str, schema: str | None) -> None:
        self._connection, self._account, self._schema = connection, account, schema
        self._fold = case_folding(connection)
        self.mirror = Mirror(connection, account)
        self.remarks: list[str] = []

    def tables(self) -> list[DraftedTable]:
        """Return the best table of each kind, and mention further ones in remarks."""
        found = list(self._matches())
        drafted: dict[str, DraftedTable] = {}
        used: set[str] = set()
        for match, table in self._drafts(found):
            if match.candidate.crm_table in used:
                continue
            if match.kind in drafted:
                first = drafted[match.kind].options["crm_table"]
                said = f"{match.candidate.crm_table} holds {match.kind}, too; {first} fits better."
                self.remarks.append(said)
                continue
            drafted[match.kind] = table
            used.add(match.candidate.crm_table)
        if "milestones" not in drafted and (wide := self._wide(found)) is not None:
            drafted["milestones"] = wide
        chosen = [drafted[kind] for kind in _KINDS if kind in drafted]
        self.remarks += [f"{one.name} stands behind #: {one.refused}" for one in chosen if one.refused]
        return chosen

    def without_errors(self, whole: str, tables: list[DraftedTable]) -> list[DraftedTable]:
        """Return the tables; a table that does not load, or that the doctor rejects, becomes a suggestion."""
        while wrong := self._errors(_text(whole, tables, ())):
            kept = [table.without(wrong[table.name]) if table.name in wrong else table for table in tables]
            if kept == tables:
                break
            self.remarks += [f"{name} stands behind #: {reason}" for name, reason in wrong.items()]
            tables = kept
        return tables

    def _matches(self) -> Iterator[Match]:
        unread = {kind for kind in _KINDS if not self.mirror.counts[kind]}
        for table in readable_tables(self._connection, self._schema):
            with self._skipping(f"{table.schema}.{table.name}"):
                candidate = candidate_of(self._connection, table)
                if candidate is not None and candidate.rows and not self.mirror.is_empty:
                    yield from matches(candidate, self.mirror)
                    yield from by_names(candidate, unread)
                elif candidate is not None:
                    yield from by_names(candidate, _KINDS)

    def _drafts(self, found: Sequence[Match]) -> list[tuple[Match, DraftedTable]]:
        """Return every match with its mapping: usable ones first, then by their rows and fields."""
        drafts = []
        for match in found:
            with self._skipping(match.candidate.crm_table):
                table = draft_table(self._connection, self._account, match, self._fold)
                if table is not None:
                    drafts.append((match, table))
        return sorted(drafts, key=lambda one: (bool(one[1].refused), -_weight(*one)))

    def _wide(self, found: Sequence[Match]) -> DraftedTable | None:
        """Return the table of installs with the most milestone columns; None if no table has any."""
        best: DraftedTable | None = None
        for match in found:
            if match.kind == "installs" and match.places:
                with self._skipping(match.candidate.crm_table):
                    table = draft_wide(self._connection, self._account, match, self.mirror, self._fold)
                    if table is not None and (best is None or _columns(table) > _columns(best)):
                        best = table
        return best

    def _errors(self, text: str) -> Mapping[str, str]:
        """Return the errors of drafted tables, by table."""
        with tempfile.TemporaryDirectory(prefix="enerflo-draft-") as folder:
            path = Path(folder) / "sync.yaml"
            path.write_text(text, encoding="utf-8")
            try:
                config = load_config(path, {})
            except InvalidConfigurationError as error:
                places = [(one.place, _wrong(one)) for one in error.problems]
            else:
                findings: list[Finding] = []
                with self._skipping("One of the tables"):
                    findings = check_mapping(self._connection, config, self._account, path)
                places = [(one.what, _wrong(one)) for one in findings if one.severity is Severity.ERROR]
        return {place.split(".")[1]: reason for place, reason in places if place.startswith("tables.")}

    @contextmanager
    def _skipping(self, table: str) -> Iterator[None]:
        """Turn a table whose rows cannot be read into a remark: a view may fail or be slow."""
        try:
            with self._connection.begin_nested():
                yield
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            if isinstance(error.orig, psycopg.errors.QueryCanceled):
                why = f"one statement took longer than {SECONDS} s"
            else:
                why = f"its rows cannot be read (SQLSTATE {getattr(error.orig, 'sqlstate', None)})"
            self.remarks.append(f"{table} was not looked at: {why}.")


def _weight(match: Match, table: DraftedTable) -> int:
    return max(len(match.places), 1) * (1 + _columns(table))


def _columns(table: DraftedTable) -> int:
    return len(table.options[table.section])


def _wrong(one: Problem | Finding) -> str:
    return f"found {one.found}, expected {one.expected}."


def _text(whole: str, tables: Sequence[DraftedTable], remarks: Sequence[str]) -> str:
    """Return the shipped file with the drafted tables in it; its comments and other options stay."""
    begin = _BEGIN.search(whole)
    before = whole[: begin.start()] if begin is not None else f"{whole}\n"
    lines = [
        "# Drafted by enerflo-sync init from the warehouse: by names of columns, and by values that stand",
        "# beside Enerflo's. What stands behind # is a suggestion. Check all of it with enerflo-sync doctor.",
        *(f"# {one_line(remark)}" for remark in remarks),
    ]
    missing = [kind for kind in _KINDS if kind not in {table.kind for table in tables}]
    if missing:
        lines.append(f"# No table of these was recognised: {', '.join(missing)}.")
    drafted = [line for table in tables for line in (*table.lines(), "")]
    counts = any(not table.refused for table in tables)
    head = "tables:" if counts else "tables: {}"
    return before + "\n".join([*lines, head, *drafted]).rstrip() + "\n"
