from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest

from enerflo_sync.reconcile.render import ReportFormat, render, write_report
from enerflo_sync.reconcile.render.records import ROW_GROUP_ROWS
from enerflo_sync.reconcile.report import Cause, Difference
from tests.reconcile.render.sample_reports import FINISHED, REPORTS, all_differences, typical

VALUES = [None, "", "12", 12, "null", "=1+1", 'a "b", c\nd', True, {"b": 1, "a": [None]}, "屋根\x00"]


def _differences() -> list[Difference]:
    return [
        Difference("notes", {"b": 2, "a": "ü"}, "body", value, None, Cause.POLICY, masked=index % 2 == 0)
        for index, value in enumerate(VALUES)
    ]


def _many(count: int, taken: list[int] | None = None) -> Iterator[Difference]:
    for index in range(count):
        if taken is not None:
            taken.append(index)
        yield Difference("installs", {"id": index}, "status", "On Hold", f"value {index}", Cause.UNEXPLAINED)


def test_csv_tells_values_apart_and_no_cell_is_a_formula() -> None:
    found = render(typical(), ReportFormat.CSV, _differences()).decode()
    rows = list(csv.DictReader(io.StringIO(found, newline="")))
    assert [json.loads(row["enerflo_value"]) if row["enerflo_value"] else None for row in rows] == VALUES
    assert {row["key"] for row in rows} == {'{"a":"ü","b":2}'}
    assert [row["masked"] for row in rows][:2] == ["true", "false"]
    assert not any(cell[:1] in set("=+@\t") for row in rows for cell in row.values())


def test_parquet_reads_back_in_pandas_with_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "differences.parquet"
    with path.open("wb") as out:
        write_report(typical(), ReportFormat.PARQUET, out, _differences())
    frame = pd.read_parquet(path)
    back = [None if pd.isna(text) else json.loads(text) for text in frame["enerflo_value"]]
    assert back == VALUES
    assert set(frame["reconciliation_id"]) == {typical().reconciliation_id}
    assert frame["masked"].tolist()[:2] == [True, False]
    assert frame["crm_value"].isna().all()


def test_parquet_without_a_difference_has_the_columns_and_no_row() -> None:
    frame = pd.read_parquet(io.BytesIO(render(typical(), ReportFormat.PARQUET, [])))
    assert len(frame) == 0
    assert {"table_name", "key", "field", "enerflo_value", "crm_value", "cause"} <= set(frame.columns)


def test_parquet_comes_in_row_groups() -> None:
    out = io.BytesIO()
    write_report(typical(), ReportFormat.PARQUET, out, _many(ROW_GROUP_ROWS * 2 + 1))
    parquet = pq.ParquetFile(io.BytesIO(out.getvalue()))
    assert parquet.num_row_groups == 3
    assert parquet.metadata.num_rows == ROW_GROUP_ROWS * 2 + 1


class _Sink(io.RawIOBase):
    """Takes bytes and keeps none; remembers how far the source was when the first ones came."""

    def __init__(self, taken: list[int]) -> None:
        self.taken = taken
        self.first_write_at: int | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        if len(self.taken) > 1 and self.first_write_at is None:
            self.first_write_at = len(self.taken)
        return memoryview(data).nbytes  # type: ignore[arg-type]


@pytest.mark.parametrize("report_format", [ReportFormat.CSV, ReportFormat.PARQUET, ReportFormat.JSON])
def test_differences_are_written_while_they_are_read(report_format: ReportFormat) -> None:
    count = 60_000
    taken: list[int] = []
    sink = _Sink(taken)
    tracemalloc.start()
    try:
        write_report(typical(), report_format, sink, _many(count, taken))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(taken) == count
    assert sink.first_write_at is not None
    assert sink.first_write_at < count / 2
    assert peak < 30_000_000


@pytest.mark.parametrize("report_format", [ReportFormat.CSV, ReportFormat.PARQUET])
def test_a_list_of_all_differences_is_refused_without_them(report_format: ReportFormat) -> None:
    with pytest.raises(ValueError, match="lists all differences"):
        render(typical(), report_format)


@pytest.mark.parametrize("report_format", ReportFormat)
def test_the_stream_stays_open(report_format: ReportFormat) -> None:
    out = io.BytesIO()
    write_report(typical(), report_format, out, [])
    assert not out.closed
    assert out.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_json_has_the_report_and_its_computed_figures(name: str) -> None:
    report = REPORTS[name]()
    found = json.loads(render(report, ReportFormat.JSON))
    assert found["differences"] == report.differences
    assert found["unexplained"] == report.unexplained
    assert found["within_budget"] is report.within_budget
    assert "difference_rows" not in found
    assert msgspec.convert(found, type(report), strict=False) == msgspec.convert(
        msgspec.to_builtins(report), type(report), strict=False
    )
    assert found["finished_at"] == FINISHED.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_carries_all_differences_where_they_are_asked_for(count: int) -> None:
    found = json.loads(render(typical(), ReportFormat.JSON, _many(count)))
    assert [row["key"]["id"] for row in found["difference_rows"]] == list(range(count))
    assert found["differences"] == typical().differences


def test_json_of_samples_given_as_differences_is_the_samples() -> None:
    found = json.loads(render(typical(), ReportFormat.JSON, all_differences(typical())))
    samples = [sample for table in found["tables"] for sample in table["samples"]]
    assert found["difference_rows"] == samples
