"""All differences of a run as Parquet, written in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import msgspec

from enerflo_sync.extras import needs_extra
from enerflo_sync.reconcile.report import Difference, ReconciliationReport

ROW_GROUP_ROWS: Final = 20_000

# The columns, and whether each always has a value. JSON texts keep "12" apart from 12, and "" from null.
COLUMNS: Final = {
    "account": True,
    "reconciliation_id": True,
    "table_name": True,
    "key": True,
    "field": False,
    "enerflo_value": False,
    "crm_value": False,
    "cause": True,
    "masked": True,
    "hint": False,
}

_encoder = msgspec.json.Encoder(order="sorted")


def write_parquet(report: ReconciliationReport, differences: Iterable[Difference], out: BinaryIO) -> None:
    """Write one row per difference to ``out`` as Parquet in groups of ``ROW_GROUP_ROWS`` rows.

    ``key``, ``enerflo_value`` and ``crm_value`` are JSON texts; null is no value, and a null ``field`` a
    whole record. A run without differences gives an empty table with the same columns.

    :raises ConfigurationError: the part that writes Parquet is not installed.
    """
    with needs_extra("pandas", "pyarrow", "--format parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    types = {"masked": pa.bool_()}
    schema = pa.schema(
        [
            pa.field(name, types.get(name, pa.string()), nullable=not always)
            for name, always in COLUMNS.items()
        ]
    )
    rows = _rows(report, differences)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, ROW_GROUP_ROWS)):
            columns = [
                pa.array(values, type=field.type)
                for values, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _rows(report: ReconciliationReport, differences: Iterable[Difference]) -> Iterator[tuple[Any, ...]]:
    for difference in differences:
        yield (
            report.account,
            report.reconciliation_id,
            difference.table_name,
            _json_text(difference.key),
            difference.field,
            _json_text(difference.enerflo_value),
            _json_text(difference.crm_value),
            difference.cause.value,
            difference.masked,
            difference.hint,
        )


def _json_text(value: Any) -> str | None:
    return None if value is None else _encoder.encode(value).decode()
