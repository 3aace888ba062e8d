from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest

from enerflo_sync.reconcile.render import ReportFormat, render, write_report
from enerflo_sync.reconcile.render.records import ROW_GROUP_ROWS
from enerflo_sync.reconcile.report import Cause, Difference, StoredDifference
from tests.reconcile.render.sample_reports import FINISHED, REPORTS, all_differences, mapping_of, typical

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


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_csv_has_plain_columns_with_words_beside_codes() -> None:
    found = StoredDifference(
        "milestones",
        {"enerflo_install_id": 7, "milestone_id": 12},
        "completed_at",
        "2026-03-01T10:00:00Z",
        None,
        Cause.CONFLICT,
        hint="day_only",
        since=datetime(2026, 3, 2, 5, tzinfo=UTC),
    )
    report = typical()
    table = msgspec.structs.replace(report.tables[0], table_name="milestones", samples=[found])
    report = msgspec.structs.replace(report, tables=[table])
    content = render(report, ReportFormat.CSV, [found])
    assert content.startswith(
        b"\xef\xbb\xbftable_name,enerflo_install_id,milestone_id,field,enerflo,crm,cause,"
    )
    [row] = lines(content)
    assert row == {
        "table_name": "milestones",
        "enerflo_install_id": "7",
        "milestone_id": "12",
        "field": "completed_at",
        "enerflo": "2026-03-01T10:00:00Z",
        "crm": "",
        "cause": "conflict",
        "cause_label": "Conflict",
        "since": "2026-03-02T05:00:00Z",
        "hint": "day_only",
        "hint_words": "the time of day, which one side leaves out",
        "masked": "false",
        "account": report.account,
        "reconciliation_id": report.reconciliation_id,
    }


def test_the_installs_id_has_its_column_whatever_the_crm_calls_it() -> None:
    found = Difference("installs", {"job_no": 7, "site": "a"}, "status", "x", "y", Cause.POLICY)
    mapping = mapping_of("{job_no: install_id, site: deal_id}")
    report = typical()
    table = msgspec.structs.replace(report.tables[0], table_name="installs", samples=[])
    report = msgspec.structs.replace(report, tables=[table])
    [row] = lines(render(report, ReportFormat.CSV, [found], {"installs": mapping}))
    assert (row["enerflo_install_id"], row["site"]) == ("7", "a")
    assert "job_no" not in row


def test_a_whole_record_is_told_in_words() -> None:
    found = [
        Difference("installs", {"id": 5}, None, {"install_id": 5}, None, Cause.MISSING_IN_CRM),
        Difference(
            "installs",
            {"id": 6},
            None,
            None,
            {"rows": 2, "keys": [{"id": 6}, {"id": 6}], "values": [{"panels": 4}, {"panels": 5}]},
            Cause.DUPLICATE_IDENTITY,
        ),
    ]
    one, two = lines(render(typical(), ReportFormat.CSV, found))
    assert (one["field"], one["enerflo"], one["crm"]) == ("", "install_id 5", "no record")
    assert two["crm"] == "2 rows: 6 (panels 4); 6 (panels 5)"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1 555", "@SUM(A1)", "-a", "\t=1", "\uff1d1", "-2+3+cmd|' /C calc'!A0"]
)
def test_a_text_that_is_a_formula_is_defused_in_csv(text: str) -> None:
    found = Difference("installs", {"id": text}, "status", text, None, Cause.POLICY)
    [row] = lines(render(typical(), ReportFormat.CSV, [found], {}))
    assert row["enerflo"] == f"'{text}"
    assert not any(cell.startswith(tuple("=+-@\t\uff1d")) for cell in row.values())


@pytest.mark.parametrize("value", ["-12.50", "+3", -7, "a = b", "", "x-1"])
def test_a_number_and_other_texts_stand_as_they_are_in_csv(value: object) -> None:
    found = Difference("installs", {"id": 1}, "status", value, "b", Cause.POLICY)
    [row] = lines(render(typical(), ReportFormat.CSV, [found]))
    assert row["enerflo"] == str(value)


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


@pytest.mark.parametrize(
    "report_format", [ReportFormat.CSV, ReportFormat.PARQUET, ReportFormat.JSON, ReportFormat.XLSX]
)
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
