"""Great Expectations over the same rows: its independent counts must equal those of the judgement."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import ContractDriftError
from enerflo_sync.extras import left_out, needs_extra
from enerflo_sync.quality.rules import expectation
from enerflo_sync.quality.suite import Suite
from enerflo_sync.warehouse.engine import SESSION_OPTIONS

# The account name goes into the text, because a query of Great Expectations takes no parameters; sync.yaml's
# reader validates it.
_ROWS = (
    "select f.* from sync.change_order_facts f join sync.quality_runs r using (account, run_id)"
    " where account = '{account}' and r.validated_by is null"
)

_COUNT = sa.text("""
/* enerflo-sync quality: rows that Great Expectations has not counted */
select coalesce(sum(f.n), 0) from sync.quality_runs r cross join lateral (
  select count(*) as n from sync.change_order_facts f where f.account = r.account and f.run_id = r.run_id) f
where r.account = :account and r.validated_by is null
""")

_FAILING = sa.text("""
/* enerflo-sync quality: what those rows fail, by check */
select check_id, count(*) as n
from sync.change_order_facts f join sync.quality_runs r using (account, run_id)
cross join lateral unnest(f.failing) check_id
where account = :account and r.validated_by is null and f.failing <> '{}' group by 1
""")


# Clients of databases and storages that hold no change orders. Great Expectations loads each that is
# installed, as many are where Airflow has their providers: 23 MB of 281 for five of them.
_OTHER_CLIENTS = (
    "azure",
    "boto3",
    "botocore",
    "databricks",
    "google.api_core",
    "google.auth",
    "google.cloud",
    "google.oauth2",
    "pyathena",
    "pyodbc",
    "pyspark",
    "snowflake",
    "sqlalchemy_bigquery",
    "sqlalchemy_redshift",
    "trino",
)


def not_validated(connection: sa.Connection, account: str) -> int:
    """Return the number of rows that Great Expectations has not counted."""
    return int(connection.execute(_COUNT, {"account": account}).scalar_one())


def validate(engine: sa.Engine, suite: Suite, account: str) -> dict[str, Any]:
    """Run the suite in Great Expectations over the rows that it has not counted, and return its result.

    The rows stay in the warehouse: each expectation is a query. No other process may judge the account's
    change orders meanwhile. The caller must store the result, and that the rows were counted.

    :raises ConfigurationError: Great Expectations is not installed.
    :raises ContractDriftError: it counts differently from the judgement; the rows stay unvalidated.
    """
    result = _great_expectations(engine, suite, account)
    with engine.begin() as connection:
        rows = connection.execute(_FAILING, {"account": account})
        counted = {row.check_id: int(row.n) for row in rows}
    _compare(suite, account, result, counted)
    return result


def _great_expectations(engine: sa.Engine, suite: Suite, account: str) -> dict[str, Any]:
    with _quiet():
        gx = load_great_expectations()
        progress = gx.data_context.types.base
        # Importing it sets this logger's level, below that of its package.
        progress.logger.setLevel(logging.NOTSET)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = progress.ProgressBarsConfig(globally=False)
        source = context.data_sources.add_sql(
            "warehouse",
            connection_string=engine.url.render_as_string(hide_password=False),
            create_temp_table=False,
            kwargs={"connect_args": {"options": SESSION_OPTIONS, "application_name": "enerflo-sync"}},
        )
        query = _ROWS.format(account=account.replace("'", "''"))
        _ask_for_names_only(source.get_execution_engine().engine, query)
        rows = source.add_query_asset("change_orders", query=query)
        batch = rows.add_batch_definition_whole_table("to_check").get_batch()
        checks = gx.ExpectationSuite(
            "change_orders", expectations=[expectation(*one) for one in suite.checks.items()]
        )
        found = batch.validate(
            checks, result_format={"result_format": "BASIC", "partial_unexpected_count": 0}
        )
        result: dict[str, Any] = found.to_json_dict()
        source.get_execution_engine().close()
        return result


def load_great_expectations() -> Any:
    """Import Great Expectations without the clients of databases that it would load beside, and return it.

    :raises ConfigurationError: it is not installed.
    """
    extra = needs_extra("quality", "great-expectations", "enerflo-sync quality")
    with extra, left_out(*_OTHER_CLIENTS):
        import_module("great_expectations.data_context.types.base")
        return import_module("great_expectations")


def _ask_for_names_only(engine: sa.Engine, rows: str) -> None:
    """Make the query of all rows return none: Great Expectations runs it to get the column names.

    Its other statements contain the query as a part, so they are unaffected.
    """

    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def shorten(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return (f"{statement} limit 0" if statement == rows else statement), parameters


def _compare(suite: Suite, account: str, result: Mapping[str, Any], counted: Mapping[str, int]) -> None:
    found = {}
    for one in result["results"]:
        config = one["expectation_config"]
        if "unexpected_count" not in one["result"]:
            raise ContractDriftError(
                f"Great Expectations could not run the check {config['meta']['check']}.",
                where=f"account {account}, {suite.file}",
                next_step="See its rule; report it where it is right.",
            )
        found[config["meta"]["check"]] = int(one["result"]["unexpected_count"])
    wrong = [name for name in suite.checks if found.get(name) != counted.get(name, 0)]
    if wrong:
        name = wrong[0]
        raise ContractDriftError(
            f"Great Expectations counts {found.get(name)} orders that fail {name}, the judgement"
            f" {counted.get(name, 0)}.",
            where=f"account {account}, {suite.file}",
            next_step="Orders are held by the judgement all the same. Report this with the check's rule.",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Send no analytics, and log only errors of Great Expectations."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # It recommends a data source that supports neither psycopg 3 nor sockets.
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
