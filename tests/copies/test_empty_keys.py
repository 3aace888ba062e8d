"""Rows of another database whose own key is empty are copied, compared, and asked about."""

from __future__ import annotations

from tests.copies.rows import COPY, Rows


def test_a_row_without_a_key_is_in_the_copy_and_its_edit_is_found(rows: Rows) -> None:
    for own in ("k", None, None):
        rows.row(own, title="Old")  # type: ignore[arg-type]
    assert rows.refresh().rows_read == 3
    assert rows.refresh().rows_read == 0
    rows.elsewhere.sql("update crm.rows set title = 'New' where own is null")
    rows.refresh()
    titles = rows.sql(f"select own, title from {COPY} order by own nulls last")
    assert [tuple(row.values()) for row in titles] == [("k", "Old"), (None, "New"), (None, "New")]
    rows.elsewhere.sql("delete from crm.rows where own is null")
    rows.refresh()
    assert len(rows.sql(f"select 1 from {COPY}")) == 1
