"""A trial of proposed options: whether they settle the rows that they are for, and no other row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.mapping import FieldMapping, FieldType
from enerflo_sync.reconcile.compare import Comparison, plan_comparison
from enerflo_sync.reconcile.fit.advice import MAPPED_TO, FieldAdvice
from enerflo_sync.reconcile.fit.finer import finer_rows
from enerflo_sync.reconcile.fit.hints import Hint
from enerflo_sync.reconcile.fit.sample import Sample
from enerflo_sync.reconcile.fit.values import FieldFit, field_fits


def proven_advice(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    sample: Sample,
    fits: Mapping[str, FieldFit],
    advice: Mapping[str, FieldAdvice],
) -> dict[str, FieldAdvice]:
    """Return the advice without options that would hide other differences, or make equal rows differ.

    All matched rows of the sample are compared once more, with the options.

    :param fits: what the rows show without the options, by field; ``advice``: the proposals, by field.
    """
    wanted = {name: one.options for name, one in advice.items() if one.options}
    if not wanted:
        return dict(advice)
    fields = {
        one.name: type(one.mapping).model_validate(wanted[one.name]) if one.name in wanted else one.mapping
        for one in comparison.fields
    }
    mapping = comparison.mapping.model_copy(update={"fields": fields})
    fold = comparison.fields[0].fold
    trial = plan_comparison(comparison.name, mapping, comparison.live, fold=fold, mode=comparison.mode)
    after = field_fits(connection, trial, account, sample)
    finer = finer_rows(connection, comparison, account, sample, wanted)
    proven = {}
    for name, one in advice.items():
        declared = comparison.mapping.fields[name]
        counts = fits[name].differing, after[name].differing, finer.get(name, 0)
        why = " ".join(_objections(declared, one, *counts))
        proven[name] = _without_options(one, why, *one.further) if why else one
    return dict(_whole_exchanges(comparison.mapping.fields, fits, proven))


def _whole_exchanges(
    fields: Mapping[str, FieldMapping], fits: Mapping[str, FieldFit], advice: Mapping[str, FieldAdvice]
) -> Iterator[tuple[str, FieldAdvice]]:
    """Yield the advice without half an exchange of two columns: both would be mapped to one field."""
    exchanged = {
        name
        for name, one in advice.items()
        if any(one.options and one.options.get(of) != _given(fields[name], of) for of in MAPPED_TO)
    }
    for name, one in advice.items():
        others = fits[name].details(Hint.SWAPPED)
        if name in exchanged and not exchanged.issuperset(others):
            why = f"Not all rows of {' and '.join(others)} have this column's value: correct those that do."
            yield name, _without_options(one, why)
        else:
            yield name, one


def _without_options(advice: FieldAdvice, *further: str) -> FieldAdvice:
    return msgspec.structs.replace(advice, options={}, further=further, choices=())


def _objections(
    declared: FieldMapping, advice: FieldAdvice, before: int, after: int, finer: int
) -> Iterator[str]:
    """Yield why a field's options are not proposed.

    :param before: how many rows differ without the options; ``after``: with them.
    :param finer: how many rows are equal in more than the options would compare.
    """
    if not advice.options:
        return
    options = _added(declared, advice.options)
    hidden = before - after - advice.accepted
    if after > before:
        more = after - before
        rows = "row more than now" if more == 1 else "rows more than now"
        yield f"{options} would make them equal, and {more:,} {rows} would differ."
    elif hidden > 0 and _is_coarse(declared, advice.options):
        rows = "row that differs" if hidden == 1 else "rows that differ"
        yield (
            f"{options} would make them equal, and {hidden:,} further {rows} by more than that: look at"
            f" {'that one' if hidden == 1 else 'those'} first."
        )
    elif finer > advice.accepted:
        yield (
            f"{options} would make them equal, and {finer:,} rows are equal in more than that: look at those"
            " that differ."
        )


def _is_coarse(declared: FieldMapping, options: Mapping[str, Any]) -> bool:
    """Return whether options make all values equal that are near each other, whatever the reason."""
    by_day = options.get("type") == FieldType.DATE != declared.type
    return by_day or any(options.get(name) != _given(declared, name) for name in ("tolerance", "precision"))


def _added(declared: FieldMapping, options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in options.items() if value != _given(declared, name))


def _given(declared: FieldMapping, name: str) -> Any:
    return declared.model_dump(mode="json", exclude_unset=True).get(name)
