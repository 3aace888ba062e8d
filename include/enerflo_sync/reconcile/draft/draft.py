"""``enerflo-sync init`` with a warehouse: a sync.yaml whose tables are drafted from what is there."""

from __future__ import annotations

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
from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.reconcile.draft.drafted import DraftedTable, one_line
from enerflo_sync.reconcile.draft.identify import Match, by_names, matches
from enerflo_sync.reconcile.draft.look import candidate_of, readable_tables
from enerflo_sync.reconcile.draft.mirrored import Mirror
from enerflo_sync.reconcile.draft.tables import draft_table, draft_wide
from enerflo_sync.reconcile.draft.words import KEYS
from enerflo_sync.reconcile.fit.preview import SECONDS
from enerflo_sync.shipped import shipped

_ACCOUNT = "default"
_BEGIN = "\ntables:\n"
_KINDS = (*KEYS, "milestones")


@dataclass(frozen=True)
class Draft:
    """A drafted file.

    :param text: the whole of sync.yaml; the shipped one where no table was recognised.
    :param remarks: what a person should know of it, in sentences.
    """

    text: str
    tables: Sequence[DraftedTable] = ()
    remarks: Sequence[str] = ()


def draft(connection: sa.Connection) -> Draft:
    """Return a sync.yaml for the warehouse; reads only.

    :param connection: in a transaction, of which the draft sets the time that a statement may take.
    """
    connection.exec_driver_sql(f"set local statement_timeout = '{SECONDS}s'")
    fold = case_folding(connection)
    mirror = Mirror(connection, _ACCOUNT)
    remarks: list[str] = []
    found = list(_matches(connection, mirror, remarks))
    tables = _tables(connection, mirror, fold, found, remarks)
    whole = shipped("sync.yaml").read_text(encoding="utf-8")
    if not tables:
        return Draft(whole, remarks=("No table was recognised: its tables are the demo's.", *remarks))
    if mirror.is_empty:
        remarks.insert(0, "The mirror holds no install yet: only names and types of columns were looked at.")
    tables = _without_errors(connection, whole, tables, remarks)
    return Draft(_text(whole, tables, remarks), tables, tuple(remarks))


def not_drafted(reason: str) -> Draft:
    """Return the shipped file, with the reason why nothing was drafted."""
    whole = shipped("sync.yaml").read_text(encoding="utf-8")
    return Draft(whole, remarks=(f"No table was drafted: {reason}",))


def _matches(connection: sa.Connection, mirror: Mirror, remarks: list[str]) -> Iterator[Match]:
    for table in readable_tables(connection):
        with _skipping(connection, f"{table.schema}.{table.name}", remarks):
            candidate = candidate_of(connection, table)
            if candidate is not None:
                yield from by_names(candidate) if mirror.is_empty else matches(candidate, mirror)


@contextmanager
def _skipping(connection: sa.Connection, table: str, remarks: list[str]) -> Iterator[None]:
    """Let a table whose rows cannot be read be a remark: a view may fail, and be slow."""
    try:
        with connection.begin_nested():
            yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            remarks.append(f"{table} was not looked at: one statement took longer than {SECONDS} s.")
        else:
            code = getattr(error.orig, "sqlstate", None)
            remarks.append(f"{table} was not looked at: its rows cannot be read (SQLSTATE {code}).")


def _tables(
    connection: sa.Connection, mirror: Mirror, fold: str, found: Sequence[Match], remarks: list[str]
) -> list[DraftedTable]:
    """Return the best table of each kind; a further one of a kind is a remark."""
    drafted: dict[str, DraftedTable] = {}
    used: set[str] = set()
    for match, table in _drafts(connection, fold, found, remarks):
        if match.candidate.crm_table in used:
            continue
        if match.kind in drafted:
            first = drafted[match.kind].options["crm_table"]
            remarks.append(f"{match.candidate.crm_table} holds {match.kind}, too; {first} fits better.")
            continue
        drafted[match.kind] = table
        used.add(match.candidate.crm_table)
    if "milestones" not in drafted:
        wide = _wide(connection, mirror, fold, found, remarks)
        if wide is not None:
            drafted["milestones"] = wide
    return [
        drafted[kind]
        for kind in ("installs", "milestones", "notes", "leads", "change_orders")
        if kind in drafted
    ]


def _drafts(
    connection: sa.Connection, fold: str, found: Sequence[Match], remarks: list[str]
) -> list[tuple[Match, DraftedTable]]:
    """Return every match with its mapping, the one with most rows and fields first."""
    drafts = []
    for match in found:
        with _skipping(connection, match.candidate.crm_table, remarks):
            table = draft_table(connection, _ACCOUNT, match, fold, match.kind)
            if table is not None:
                drafts.append((match, table))
    return sorted(drafts, key=lambda one: -_weight(*one))


def _weight(match: Match, table: DraftedTable) -> int:
    return max(len(match.places), 1) * (1 + len(table.options[table.section]))


def _wide(
    connection: sa.Connection, mirror: Mirror, fold: str, found: Sequence[Match], remarks: list[str]
) -> DraftedTable | None:
    """Return the table of installs that has most milestones in its columns; None where none has any."""
    drafts = []
    for match in found:
        if match.kind == "installs" and match.places:
            with _skipping(connection, match.candidate.crm_table, remarks):
                drafts.append(draft_wide(connection, _ACCOUNT, match, mirror, fold, "milestones"))
    return max(
        (one for one in drafts if one is not None), key=lambda one: len(one.options["columns"]), default=None
    )


def _without_errors(
    connection: sa.Connection, whole: str, tables: list[DraftedTable], remarks: list[str]
) -> list[DraftedTable]:
    """Return the tables, those as mere suggestions with which the file does not load or the doctor errs."""
    while wrong := _errors(connection, _text(whole, tables, ()), remarks):
        kept = [table.without(wrong[table.name]) if table.name in wrong else table for table in tables]
        if kept == tables:
            break
        remarks += [f"{name} stands behind #: {reason}" for name, reason in wrong.items()]
        tables = kept
    return tables


def _errors(connection: sa.Connection, text: str, remarks: list[str]) -> Mapping[str, str]:
    """Return what is wrong with drafted tables, by their names."""
    with tempfile.TemporaryDirectory(prefix="enerflo-draft-") as folder:
        path = Path(folder) / "sync.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            config = load_config(path, {})
        except InvalidConfigurationError as error:
            places = [(one.place, f"found {one.found}, expected {one.expected}.") for one in error.problems]
        else:
            findings: list[Finding] = []
            with _skipping(connection, "One of the tables", remarks):
                findings = check_mapping(connection, config, _ACCOUNT, path)
            bad = [one for one in findings if one.severity is Severity.ERROR]
            places = [(one.what, f"found {one.found}, expected {one.expected}.") for one in bad]
    return {place.split(".")[1]: reason for place, reason in places if place.startswith("tables.")}


def _text(whole: str, tables: Sequence[DraftedTable], remarks: Sequence[str]) -> str:
    """Return the shipped file with drafted tables; its comments and other options stay."""
    before = whole[: whole.index(_BEGIN) + 1]
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
