"""A copy of which no row arrives any more says what the CRM said then, and the report says since when."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.reconcile.conftest import NOW, TwoSides


@pytest.mark.parametrize(
    ("option", "column", "kind"),
    [
        ("arrived_at: loaded", "loaded", "timestamptz"),
        ("arrived_at: loaded", "loaded", "timestamp"),
        # Nobody declared it: the tool's own column tells.
        ("unlinked: ignore", "_fivetran_synced", "timestamptz"),
    ],
)
def test_a_report_says_since_when_no_row_of_a_copy_arrived(
    sides: TwoSides, tmp_path: Path, option: str, column: str, kind: str
) -> None:
    sides.sql(f"alter table crm.installs add {column} {kind}")
    sides.config.file.write_text(
        sides.config.file.read_text().replace(
            "    updated_at: updated_at\n", f"    updated_at: updated_at\n    {option}\n", 1
        )
    )
    sides.with_config(sides.config.file.read_text(), tmp_path)
    for number, arrived in enumerate((NOW - timedelta(days=2), NOW + timedelta(hours=2)), 1):
        sides.install(number)
        sides.sql(
            f"update crm.installs set {column} = :at where enerflo_install_id = :id", at=arrived, id=number
        )

    def said(now: datetime) -> list[str]:
        remarks = sides.reconcile(now, full=True).tables[0].remarks
        return [one for one in remarks if "arrived since" in one]

    (remark,) = said(NOW)
    day = f"{NOW - timedelta(days=2):%Y-%m-%d %H:%M}"
    assert remark.startswith(
        f"No row of crm.installs arrived since {day} UTC ({column}): the table may be a copy"
    )
    assert said(NOW + timedelta(hours=3)) == []
