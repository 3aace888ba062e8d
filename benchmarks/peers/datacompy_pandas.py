"""datacompy on pandas: both tables read whole by ``read_sql``, then compared in memory."""

from __future__ import annotations

from typing import Any

import datacompy
import pandas as pd
import sqlalchemy as sa

from benchmarks.jobs import CompareJob
from benchmarks.rows import COMPARED, KEY, LEFT, RIGHT


def run(job: CompareJob) -> dict[str, Any]:
    """Read, compare, and count what differs."""
    engine = sa.create_engine(job.database_url)
    columns = ", ".join((KEY, *COMPARED))
    with engine.connect() as connection:
        left, right = (
            pd.read_sql(sa.text(f"select {columns} from {table}"), connection) for table in (LEFT, RIGHT)
        )
    engine.dispose()
    comparison = _compare(left, right)
    return {
        "only_left": len(comparison.df1_unq_rows),
        "only_right": len(comparison.df2_unq_rows),
        "differing": int(len(comparison.intersect_rows) - comparison.count_matching_rows()),
    }


def _compare(left: pd.DataFrame, right: pd.DataFrame) -> Any:
    # The class has been renamed in version 0.14 and again in 1.0.
    comparer = getattr(datacompy, "PandasCompare", None) or datacompy.Compare
    return comparer(left, right, join_columns=KEY)
