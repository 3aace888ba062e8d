"""Lineage: which tables a job read and wrote, and which column came from which, by the mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.catalogue.read_catalogue import fed_columns
from enerflo_sync.crm.copies import OUR_CHANGES
from enerflo_sync.crm.mapping import Direction, TableMapping
from enerflo_sync.crm.modes import Mode
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.quality.suite import Severity
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.resources.registry import BY_NAME, KINDS
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.runs import RunReport


class Dataset(msgspec.Struct, frozen=True):
    """One list of Enerflo's or one table, named as OpenLineage names such."""

    namespace: str
    name: str


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One written dataset.

    :param columns: by column, the fields of other datasets that its values come from.
    :param rows: number of rows that the job changed; None if it is not known by table.
    """

    dataset: Dataset
    columns: Mapping[str, Sequence[tuple[Dataset, str]]] = {}
    rows: int | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check of the input."""

    name: str
    sentence: str
    passed: bool
    holds: bool
    found: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a job read and wrote, with its counts, and what it checked of its inputs."""

    inputs: Sequence[Dataset]
    outputs: Sequence[Output]
    counts: Mapping[str, int]
    checks: Sequence[Checked] = ()


def poll_lineage(context: AccountContext, report: RunReport) -> Lineage:
    """Return the lineage of a poll: lists of Enerflo, mirror tables, and the path of each mirror column."""
    read = {name: BY_NAME[name] for name in report.resources if name in BY_NAME}
    inputs = {name: _list_of(context, name) for name in read}
    outputs = []
    with warehouse_errors("fields"), context.engine.connect() as connection:
        for name, resource in read.items():
            for part in resource.parts:
                fed = fed_columns(connection, context.account, context.config, str(part.table.name))
                columns = {column: [(inputs[name], path) for path in paths] for column, paths in fed.items()}
                rows = int(report.resources[name]["applied"]) if part is resource.parts[0] else None
                outputs.append(
                    Output(dataset=_mirror(context, part.table.fullname), columns=columns, rows=rows)
                )
    counts = ("read", "applied", "unchanged", "quarantined", "skipped", "requests")
    return Lineage(
        inputs=list(inputs.values()),
        outputs=outputs,
        counts={name: getattr(report, name) for name in counts},
    )


def reconcile_lineage(context: AccountContext, report: ReconciliationReport) -> Lineage:
    """Return the lineage of a reconciliation: both sides of each compared table, and the differences."""
    inputs = [
        side
        for name, mapping in _mapped(context)
        if mapping.reconcile
        for side in (_mirror_of(context, name, mapping), _crm(context, mapping))
    ]
    written = Output(dataset=_mirror(context, "sync.differences"), rows=report.differences)
    counts = {"differences": report.differences, "unexplained": report.unexplained}
    return Lineage(inputs=list(dict.fromkeys(inputs)), outputs=[written], counts=counts)


def apply_lineage(context: AccountContext, report: ApplyReport) -> Lineage:
    """Return the lineage of an apply: the tables of the sides that may be written, column by column."""
    inputs: list[Dataset] = []
    outputs: list[Output] = []
    handed: dict[Dataset, list[tuple[Dataset, str]]] = {}
    counts = ("applied", "handed_over", "moved", "parked", "refused", "waiting")
    if report.already:
        # The counts are of the run that applied the plan; this one did nothing.
        return Lineage(inputs=[], outputs=[], counts=dict.fromkeys(counts, 0))
    for name, mapping in _mapped(context):
        mode = context.config.mode_of(context.account, name)
        mirror, crm = _mirror_of(context, name, mapping), _crm(context, mapping)
        if mode in (Mode.CRM, Mode.BOTH):
            inputs.append(mirror)
            columns = _crm_columns(mapping, mirror)
            outboxes = _outboxes(context, mapping)
            if not outboxes:
                outputs.append(Output(dataset=crm, columns=columns))
            for outbox in outboxes:
                handed.setdefault(outbox, []).extend(source for found in columns.values() for source in found)
        if mode in (Mode.ENERFLO, Mode.BOTH):
            inputs.append(crm)
            resource, _ = KINDS[mapping.key_kind(name)]
            outputs.append(Output(dataset=_list_of(context, resource.name)))
    for outbox, sources in handed.items():
        outputs.append(Output(dataset=outbox, columns={"after": list(dict.fromkeys(sources))}))
    return Lineage(
        inputs=list(dict.fromkeys(inputs)),
        outputs=list({one.dataset: one for one in outputs}.values()),
        counts={name: getattr(report, name) for name in counts},
    )


def checks_lineage(context: AccountContext, report: QualityReport) -> Lineage:
    """Return the lineage of the checks of change orders: their table, and how many fail each check."""
    return Lineage(
        inputs=[_mirror(context, "enerflo.change_orders")],
        outputs=[Output(dataset=_mirror(context, "sync.quality_results"))],
        counts={"checked": report.checked or 0, "held": report.held},
        checks=[
            Checked(
                name=one.check,
                sentence=one.sentence,
                passed=not one.failed,
                holds=one.severity is Severity.HOLD,
                found=f"{one.failed} of {one.checked} fail",
            )
            for one in report.checks
            # A check that applied to no order has not passed.
            if one.checked
        ],
    )


def _mapped(context: AccountContext) -> Iterator[tuple[str, TableMapping]]:
    yield from context.config.tables_for(context.account).items()


def _crm_columns(mapping: TableMapping, mirror: Dataset) -> dict[str, list[tuple[Dataset, str]]]:
    written = {Direction.BOTH, Direction.TO_CRM}
    fields = {column: field.enerflo for column, field in mapping.fields.items() if field.direction in written}
    return {column: [(mirror, name)] for column, name in {**mapping.join_columns, **fields}.items()}


def _outboxes(context: AccountContext, mapping: TableMapping) -> list[Dataset]:
    """Return the tables into which changes of a copy are handed over; none if the CRM's table is written."""
    # If we carry the changes to the CRM's own database, its table is written.
    if mapping.handed_to is None or mapping.is_carried:
        return []
    return [_mirror(context, name) for name in dict.fromkeys((OUR_CHANGES, mapping.handed_to.changes))]


def _list_of(context: AccountContext, name: str) -> Dataset:
    listing = BY_NAME[name].listing
    return Dataset(context.credentials.base_url().rstrip("/"), listing.path if listing else f"/{name}")


def _mirror_of(context: AccountContext, name: str, mapping: TableMapping) -> Dataset:
    _, part = KINDS[mapping.key_kind(name)]
    return _mirror(context, part.table.fullname)


def _mirror(context: AccountContext, table: str) -> Dataset:
    return _table(context.engine.url, table)


def _crm(context: AccountContext, mapping: TableMapping) -> Dataset:
    # A table of another database is known here by its copy, which a job compares and plans by.
    return _mirror(context, mapping.crm_table)


def _table(url: sa.URL, table: str) -> Dataset:
    host = url.host or "localhost"
    return Dataset(f"postgres://{host}:{url.port or 5432}", f"{url.database}.{table}")
