"""Great Expectations on pandas: what the suite needs of the facts, by ``read_sql``, validated in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.jobs import ChecksJob
from enerflo_sync.quality.rules import expectation
from enerflo_sync.quality.suite import SUITE_FILE, load_suite


def run(job: ChecksJob) -> dict[str, Any]:
    """Read, validate, and return how many rows fail each check; imports are part of it, as of ours."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig

    suite = load_suite(SUITE_FILE.find(Path(job.config_path), os.environ), os.environ)
    engine = sa.create_engine(job.database_url)
    with engine.connect() as connection:
        columns = ", ".join(sorted({check.column for check in suite.checks.values()}))
        query = f"select change_order_id, {columns} from sync.change_order_facts"
        rows = pd.read_sql(sa.text(query), connection, coerce_float=True)
    engine.dispose()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("change_orders")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows})
    checks = gx.ExpectationSuite("all", expectations=[expectation(*one) for one in suite.checks.items()])
    result = batch.validate(checks, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    found = {
        one["expectation_config"]["meta"]["check"]: int(one["result"]["unexpected_count"])
        for one in result.to_json_dict()["results"]
    }
    return {"failing": {name: count for name, count in found.items() if count}}
