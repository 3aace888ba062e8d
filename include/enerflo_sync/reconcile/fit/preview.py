"""The doctor's preview of both sides of every mapped table: how well they fit, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from enerflo_sync.counted import count_of
from enerflo_sync.crm.chosen_rows import keys_proven
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.doctor import Finding, Severity, check_table
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.mapping import mirror_type
from enerflo_sync.reconcile.compare import Comparison, full_name, plan_comparison
from enerflo_sync.reconcile.fit.advice import ZONES, FieldAdvice, field_advice, yaml_line
from enerflo_sync.reconcile.fit.keys import KeyFit, KeyProposal, key_fit, key_proposal, written
from enerflo_sync.reconcile.fit.sample import Sample, sample_of
from enerflo_sync.reconcile.fit.trial import proven_advice
from enerflo_sync.reconcile.fit.unlisted import unlisted_texts, unlisted_values
from enerflo_sync.reconcile.fit.values import FieldFit, field_fits, fitting_zones
from enerflo_sync.reconcile.values import mirror_kind

# The timeout of one statement of a preview; a reconciliation has the whole answer.
SECONDS = 30

_NO_READING = (
    "No option of the key makes most of them meet: map another column, or a view that shows Enerflo's id"
    " without anything beside it."
)


class ProposedOption(msgspec.Struct, frozen=True):
    """An option of ``sync.yaml`` that settles differences.

    :param option: its path within the table: ``("key",)`` or ``("fields", NAME)``.
    :param value: all that it is to say.
    :param found: the rows that it is for.
    :param choices: what a person has to know who takes it, as other options that fit as well.
    """

    option: tuple[str, ...]
    value: Mapping[str, Any]
    found: str
    choices: tuple[str, ...] = ()


class TableFit(msgspec.Struct, frozen=True):
    """How well the two sides of one table fit. ``keys`` is None if not compared, see ``why_not``."""

    table: str
    crm_table: str
    keys: KeyFit | None
    why_not: str = ""
    findings: tuple[Finding, ...] = ()
    proposed: tuple[ProposedOption, ...] = ()


def table_fits(connection: sa.Connection, config: SyncConfig, account: str, path: Path) -> Iterator[TableFit]:
    """Yield how well both sides of each mapped table fit; reads only, and samples large tables.

    A table that does not fit its mapping is left out, since the check of the mapping reports it.

    :param connection: in a transaction; the preview sets its statement timeout.
    :param path: the file that findings name.
    """
    connection.exec_driver_sql(f"set local statement_timeout = '{SECONDS}s'")
    fold = case_folding(connection)
    for name, mapping in config.tables_for(account).items():
        live, findings = check_table(connection, config, account, name, path, to_plan=False)
        if live is None or any(finding.severity is Severity.ERROR for finding in findings):
            continue
        mode = config.mode_of(account, name)
        proven = keys_proven(connection, mapping, live, fold)
        comparison = plan_comparison(name, mapping, live, fold=fold, mode=mode, proven=proven)
        try:
            with connection.begin_nested():
                fit = _table_fit(connection, config, account, path, comparison)
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.QueryCanceled):
                raise
            why = f"not previewed: one statement took longer than {SECONDS} s. Reconcile to know."
            fit = TableFit(comparison.name, full_name(mapping), None, why)
        yield fit


def _table_fit(
    connection: sa.Connection, config: SyncConfig, account: str, path: Path, comparison: Comparison
) -> TableFit:
    name, table = comparison.name, full_name(comparison.mapping)
    sample = sample_of(connection, comparison)
    keys = key_fit(connection, comparison, account, sample)
    if not keys.enerflo or not keys.crm:
        empty = f"{table} is empty" if keys.enerflo else f"the mirror holds no {name} yet: poll first"
        return TableFit(name, table, None, f"not previewed: {empty}.")
    found = [
        *_key_findings(connection, config, account, path, comparison, sample, keys),
        *_field_findings(connection, config, account, path, comparison, sample.of_values),
    ]
    for one, values in unlisted_values(connection, comparison, account):
        place, texts = (comparison.mapping.section, one.name), unlisted_texts(comparison, one, values)
        found.append((_finding(config, account, path, comparison, Severity.WARNING, place, *texts), None))
    proposed = tuple(option for _, option in found if option is not None)
    return TableFit(name, table, keys, findings=tuple(finding for finding, _ in found), proposed=proposed)


def _finding(
    config: SyncConfig,
    account: str,
    path: Path,
    comparison: Comparison,
    severity: Severity,
    place: tuple[str, ...],
    *texts: str,
) -> Finding:
    spot = config.table_spot(account, comparison.name, *place)
    file = spot.file if spot.file != config.file else path
    return Finding(severity, str(file), spot.line, ".".join(("tables", comparison.name, *place)), *texts)


def _key_findings(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    path: Path,
    comparison: Comparison,
    sample: Sample,
    keys: KeyFit,
) -> Iterator[tuple[Finding, ProposedOption | None]]:
    """Yield the reading of the key that would match more rows, if both sides have rows without a match."""
    if not keys.only_enerflo or not (keys.only_crm or keys.without_key):
        return
    proposal = key_proposal(connection, comparison, account, sample)
    option = "key" if comparison.mapping.joined_by_key else "join"
    if proposal is None:
        if keys.only_crm and not keys.matched:
            found = f"{sample.words}no CRM row whose key is that of one of Enerflo's records"
            texts = found, "keys that meet", _NO_READING
            yield _finding(config, account, path, comparison, Severity.WARNING, (option,), *texts), None
        return
    columns = {
        column: {"enerflo": mirror, **proposal.options[column]} if column in proposal.options else mirror
        for column, mirror in comparison.mapping.join_columns.items()
    }
    found = (
        f"{sample.words}{keys.only_crm:,} CRM rows and {keys.only_enerflo:,} of Enerflo's records whose keys"
        " meet nothing"
    )
    step = _proposed_step(proposal, {option: columns})
    finding = _finding(
        config, account, path, comparison, Severity.WARNING, (option,), found, "keys that meet", step
    )
    yield finding, ProposedOption((option,), columns, found)


def _proposed_step(proposal: KeyProposal, option: Mapping[str, Any]) -> str:
    readings = list(dict.fromkeys(written(options) for options in proposal.options.values()))
    text = f"{proposal.more:,} more would match with {'; '.join(readings)}"
    if proposal.less:
        text += f", and {proposal.less:,} no longer"
    text += f". Write {yaml_line(option)}."
    if proposal.duplicate_keys:
        text += (
            f" Then {proposal.duplicate_rows:,} CRM rows share {count_of(proposal.duplicate_keys, 'key')}:"
            " they are reported as duplicate_identity and not compared field by field."
        )
    if proposal.ambiguous:
        text += f" {count_of(proposal.ambiguous, 'key')} would belong to several of Enerflo's records."
    return text


def _field_findings(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    path: Path,
    comparison: Comparison,
    sample: Sample,
) -> Iterator[tuple[Finding, ProposedOption | None]]:
    fits = field_fits(connection, comparison, account, sample)
    for name, advice in advice_of(connection, comparison, account, sample, fits).items():
        place, found = (comparison.mapping.section, name), f"{sample.words}{advice.found}"
        same, step = "the same values on both sides", _step(advice)
        finding = _finding(config, account, path, comparison, Severity.HINT, place, found, same, step)
        proposed = ProposedOption(place, advice.options, found, tuple(advice.choices))
        yield finding, proposed if advice.options else None


def advice_of(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    sample: Sample,
    fits: Mapping[str, FieldFit],
) -> dict[str, FieldAdvice]:
    """Return the advice for each field whose differences look like mere spelling; its options were tried."""
    found = {}
    for one in comparison.fields:
        kind = mirror_kind(mirror_type(comparison.kind, comparison.mapping, one.mapping.enerflo))
        zones = partial(fitting_zones, connection, comparison, one, account, sample, ZONES)
        advice = field_advice(one, fits[one.name], kind, zones, comparison.mapping.fields)
        if advice is not None:
            found[one.name] = advice
    return proven_advice(connection, comparison, account, sample, fits, found)


def _step(advice: FieldAdvice) -> str:
    lines = [f"Where that is no difference to you, write {advice.line}"] if advice.line else []
    return " ".join([*lines, *advice.choices, *advice.further])
