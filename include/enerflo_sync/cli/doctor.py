"""``enerflo-sync doctor``: check connections and mapping; only ``--write-check`` writes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from enerflo_sync.catalogue.fits import unfilled_columns
from enerflo_sync.catalogue.report import Unfilled
from enerflo_sync.cli.check import Check, made
from enerflo_sync.cli.clock_check import clock_check
from enerflo_sync.cli.crm_check import crm_check
from enerflo_sync.cli.drop_check import drop_check
from enerflo_sync.cli.groups import Group, finish_each, require_one_account
from enerflo_sync.cli.match import match_checks
from enerflo_sync.cli.output import Account, Exit, Json, console, errors, print_json
from enerflo_sync.cli.salesforce_check import goes_to_salesforce, salesforce_check
from enerflo_sync.cli.write_check import write_checks
from enerflo_sync.clock import skew_of
from enerflo_sync.copies.grants import as_comment, remote_grants
from enerflo_sync.crm.columns import column_places, declared
from enerflo_sync.crm.doctor import Finding, Severity, check_mapping
from enerflo_sync.crm.live.grants import grants_sql
from enerflo_sync.crm.live.rights import present_role, unusable_own_tables
from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.crm.problems import listed
from enerflo_sync.crm.webhook_places import listed_accounts, require_own_drop, sharing_archive
from enerflo_sync.enerflo.statuses import read_statuses
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.declared import DeclaredColumn, require_filled
from enerflo_sync.warehouse.engine import check_server, warehouse_errors
from enerflo_sync.warehouse.revision import (
    SchemaVersion,
    older_program,
    require_migrated,
    schema_version,
)
from enerflo_sync.warehouse.runs import SKEW_SECONDS, skew_text

_MARKS = {Severity.ERROR: "[red]✗[/]", Severity.WARNING: "[yellow]![/]", Severity.HINT: "[cyan]·[/]"}


def command(
    account: Account = "default",
    group: Group = None,
    write_check: Annotated[
        int | None,
        typer.Option(
            "--write-check",
            metavar="INSTALL_ID",
            min=1,
            help="WRITES to this install of Enerflo, whatever the mode: its status and one milestone's date"
            ' as they are, and a note "enerflo-sync write check, TIME" that stays there. Shows whether'
            " Enerflo refuses the field names under writes; of the note it shows that its text is stored.",
        ),
    ] = None,
    grants: Annotated[
        str | None,
        typer.Option(
            "--grants",
            metavar="ROLE",
            help="Print the SQL that gives a database role what the account's jobs need in its present modes,"
            " and nothing more. Nothing is checked or changed.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check everything that a first run needs, and say what to change. Only --write-check writes to Enerflo.

    The checks: configuration, the drop of webhook files, warehouse and tables, API key, the company's
    statuses, the mapping against the live CRM tables (file, line, found, expected), the objects at Salesforce
    where changes go there (write_to), and how the rows of both sides match: which keys meet, and which values
    differ only in how they are written, with the line of sync.yaml that accepts them. If the CRM is in
    another database, the doctor first brings our copies of its tables up to date. It never writes to the CRM.

    Exit code 1 when a finding is an error of the mapping or a warning, 2 when a check could not run; hints
    do not count.
    """
    if write_check is not None:
        require_one_account(group, "--write-check")

    def look(context: AccountContext) -> Exit:
        if grants is not None:
            _print_grants(context, grants, as_json)
            return Exit.DONE
        found = list(checks(context, write_check))
        if as_json:
            print_json({"account": context.account, "checks": [as_dict(check) for check in found]})
        else:
            _print(context, found)
        if any(check.failed for check in found):
            return Exit.FAILED
        waiting = any(one.severity is not Severity.HINT for check in found for one in check.findings)
        return Exit.NEEDS_A_PERSON if waiting else Exit.DONE

    finish_each(account, group, look, as_json=as_json)


def _print_grants(context: AccountContext, role: str, as_json: bool) -> None:
    with warehouse_errors("doctor"), context.engine.connect() as connection:
        sql = grants_sql(connection, context.config, context.account, role)
        there = remote_grants(connection, context.crm, context.config, context.account, role)
    if as_json:
        print_json({"account": context.account, "role": role, "sql": sql, "crm_sql": there})
    else:
        console.print(sql + as_comment(there), end="", markup=False)


def checks(context: AccountContext, write_check: int | None) -> Iterator[Check]:
    """Yield each check's result; a failed check skips only those that depend on it."""
    tables = ", ".join(context.config.tables_for(context.account))
    mode = context.settings.mode
    file = context.config.spot("accounts", context.account).file
    yield Check("configuration", f"{file}: account {context.account}, mode {mode}, {tables}")
    if context.config.unusable:
        yield _other_accounts(context)
    yield from _webhook_places(context)
    dropped = drop_check(context)
    if dropped is not None:
        yield dropped
    server = made("warehouse", lambda: _server(context))
    yield server
    if not server.failed:
        migrated = _migrated(context)
        yield migrated
        copied = crm_check(context) if context.crm is not None else None
        if copied is not None:
            yield copied
        if copied is None or not copied.failed:
            yield _mapping(context)
            if not migrated.failed:
                yield from match_checks(context)
        if context.config.columns:
            yield _columns(context)
    if goes_to_salesforce(context):
        yield salesforce_check(context)
    if not server.failed and _reads_only(context):
        yield Check("Enerflo", "not asked: the warehouse counts requests, and only reads here", made=False)
        return
    key = made("Enerflo", lambda: _key(context))
    yield key
    if not key.failed:
        yield made("statuses", lambda: _statuses(context))
        yield from clock_check(context)
        if write_check is not None:
            yield from write_checks(context, write_check)


def _other_accounts(context: AccountContext) -> Check:
    """Return what keeps other accounts from being used, and what of this one is not checked for that."""
    unusable = context.config.unusable
    step = (
        "Correct it: until then no job of that account runs, and whether it shares rows of a CRM table with"
        f" account {context.account} is not known."
    )
    findings = [
        Finding(Severity.WARNING, one.file, one.line, one.place, one.found, one.expected, step)
        for problems in unusable.values()
        for one in problems
    ]
    return Check("accounts", f"the configuration of {', '.join(unusable)} cannot be read", findings=findings)


def _webhook_places(context: AccountContext) -> Iterator[Check]:
    """Yield what accounts share of the places of their webhook files, which are nobody's then."""
    config, account = context.config, context.account
    try:
        require_own_drop(config, account)
    except ConfigurationError as error:
        yield Check("webhooks", str(error), failed=True)
        return
    if others := sharing_archive(config, account):
        spot = config.spot("accounts", account, "webhook_drop_uri")
        found = Finding(
            Severity.WARNING,
            str(spot.file),
            spot.line,
            f"accounts.{account}.webhook_archive_uri",
            f"the archive of {listed_accounts(others)}",
            "an archive of its own",
            "Name one: nobody can tell whose files come back after a restore.",
        )
        yield Check("webhooks", "the archive is shared", findings=[found])


def _server(context: AccountContext) -> str:
    with warehouse_errors("doctor"), context.engine.connect() as connection:
        check_server(connection)
        version = connection.exec_driver_sql("show server_version").scalar()
    skew = skew_of(context.clock)
    seconds = 0.0 if skew is None else skew.total_seconds()
    clock = f"; {skew_text(seconds)}" if abs(seconds) > SKEW_SECONDS else ""
    return f"PostgreSQL {version}{clock}"


def _migrated(context: AccountContext) -> Check:
    """Check that the warehouse has this version's tables, and that the role may use them."""
    try:
        require_migrated(context.engine, reads_only=True)
        with warehouse_errors("doctor"), context.engine.connect() as connection:
            version = schema_version(connection)
        if version.reads_only:
            return Check(
                "tables", f"at revision {version.revision}", findings=[_no_writing(context, version)]
            )
        require_migrated(context.engine)
        with warehouse_errors("doctor"), context.engine.connect() as connection:
            unusable, role = unusable_own_tables(connection), present_role(connection)
    except EnerfloSyncError as error:
        return Check("tables", str(error), failed=True)
    findings = [_no_right(context, unusable, role)] if unusable else []
    detail = older_program(version) if version.newer else f"at revision {version.revision}"
    return Check("tables", detail, findings=findings)


def _reads_only(context: AccountContext) -> bool:
    with warehouse_errors("doctor"), context.engine.connect() as connection:
        return schema_version(connection).reads_only


def _no_writing(context: AccountContext, version: SchemaVersion) -> Finding:
    spot = context.config.spot("accounts", context.account)
    return Finding(
        Severity.WARNING,
        str(spot.file),
        spot.line,
        f"accounts.{context.account}",
        "a standby, which only reads" if version.standby else "a connection that may only read",
        "a server and a role that may write",
        "What only reads works here, as explain and gaps; every other job needs the primary.",
    )


def _no_right(context: AccountContext, tables: list[str], role: str) -> Finding:
    spot = context.config.spot("accounts", context.account)
    return Finding(
        Severity.WARNING,
        str(spot.file),
        spot.line,
        f"accounts.{context.account}",
        f"a role that may not read and write {listed(tables, limit=3)}",
        "SELECT, INSERT, UPDATE and DELETE",
        f"As their owner, run what this prints: enerflo-sync doctor --grants {shlex.quote(role)}",
    )


def _mapping(context: AccountContext) -> Check:
    try:
        with warehouse_errors("doctor"), context.engine.connect() as connection:
            path = context.config_path
            findings = check_mapping(connection, context.config, context.account, path)
    except EnerfloSyncError as error:
        return Check("mapping", str(error), failed=True)
    tables = context.config.tables_for(context.account)
    fields = sum(len(table.fields) for table in tables.values())
    detail = f"{fields} fields of {len(tables)} tables" + (": fits the live tables" if not findings else "")
    return Check("mapping", detail, findings=findings)


def _columns(context: AccountContext) -> Check:
    """Check that the mirror has the declared columns, and that path and type of each fit most records."""
    columns = declared(context.config.columns)
    try:
        with warehouse_errors("doctor"), context.engine.connect() as connection:
            places = column_places(context.config.columns, context.config.spot)
            require_filled(connection, context.account, columns, places)
            unfilled = unfilled_columns(connection, context.account, columns)
    except EnerfloSyncError as error:
        return Check("columns", str(error), failed=True)
    findings = [_unfilled_column(context, *one) for one in unfilled]
    return Check(
        "columns", f"{len(columns)} declared, {len(columns) - len(unfilled)} filled", findings=findings
    )


def _unfilled_column(context: AccountContext, column: DeclaredColumn, why: Unfilled) -> Finding:
    kind = next(kind for kind, mirror in MIRROR_TABLES.items() if mirror == column.table)
    place = ("columns", kind, column.name, why.option)
    spot = context.config.spot(*place)
    return Finding(
        Severity.WARNING,
        str(spot.file),
        spot.line,
        ".".join(place),
        why.found,
        why.expected,
        why.next_step,
    )


def _key(context: AccountContext) -> str:
    context.client.check()
    return f"{context.credentials.base_url()} accepts the API key"


def _statuses(context: AccountContext) -> str:
    names = {status.id: status.name for status in read_statuses(context.client)}
    wanted = context.config.statuses
    for option, value in (("completed", wanted.completed), ("on_hold", wanted.on_hold)):
        if value not in names and value not in names.values():
            known = ", ".join(sorted(names.values())) or "none"
            line = context.config.line("statuses", option)
            raise EnerfloSyncError(
                f"the company has no status {value}; it has {known}.",
                where=f"{context.config_path}:{line}: statuses.{option}",
                next_step="Write one of them.",
            )
    return f"{len(names)} of the company: {', '.join(sorted(names.values()))}"


def as_dict(check: Check) -> dict[str, object]:
    """Return a check as the doctor's JSON has it."""
    return {
        "name": check.name,
        "ok": not check.failed and not check.findings,
        "made": check.made,
        "detail": check.detail,
        "findings": msgspec.to_builtins(check.findings),
        **check.figures,
    }


def _print(context: AccountContext, checks: list[Check]) -> None:
    for check in checks:
        bad = check.failed or any(finding.severity is Severity.ERROR for finding in check.findings)
        mark = "[red]✗[/]" if bad else "[green]✓[/]" if check.made else "[yellow]-[/]"
        console.print(f"{mark} [bold]{check.name}[/]: {escape(check.detail)}")
        for one in check.findings:
            console.print(f"    {_MARKS[one.severity]} {escape(f'{one} {one.next_step}')}")
    failed = [check for check in checks if check.failed]
    if failed:
        errors.print(f"enerflo-sync: {failed[0].name}: {failed[0].detail}", markup=False)
    elif not context.config.writes_anything(context.account):
        console.print("Mode report: reconciliations are made and shown; nothing of yours is written.")
