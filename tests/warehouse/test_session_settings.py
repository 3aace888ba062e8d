"""A database or role may write times and texts in its own way; our sessions do not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.reconcile.values import NUMBER_TEXT
from enerflo_sync.warehouse.engine import warehouse_engine


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY", "ISO, DMY"])
def test_times_are_read_whatever_the_date_style_and_days_come_before_months_as_there(
    warehouse: sa.Engine, style: str
) -> None:
    with warehouse.begin() as connection:
        name = connection.exec_driver_sql("select current_database()").scalar_one()
        connection.exec_driver_sql(f"alter database {name} set datestyle = '{style}'")
    engine = warehouse_engine(warehouse.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select now()").scalar_one().tzinfo is not None
        month = connection.exec_driver_sql("select extract(month from '03/04/2026'::date)").scalar_one()
        assert month == (3 if "MDY" in style else 4)
    engine.dispose()


def test_statements_and_floats_mean_the_same_whatever_the_database_says(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        name = connection.exec_driver_sql("select current_database()").scalar_one()
        for setting in ("standard_conforming_strings = off", "extra_float_digits = -15"):
            connection.exec_driver_sql(f"alter database {name} set {setting}")
    engine = warehouse_engine(warehouse.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        assert not connection.exec_driver_sql(f"select '7x5' ~ '{NUMBER_TEXT}'").scalar_one()
        assert connection.exec_driver_sql("select 23616.05::real::text").scalar_one() == "23616.05"
    engine.dispose()


def test_a_value_that_a_list_lacks_is_no_text_whatever_the_database_says(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        name = connection.exec_driver_sql("select current_database()").scalar_one()
        connection.exec_driver_sql(f"alter database {name} set array_nulls = off")
    engine = warehouse_engine(warehouse.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        found = connection.exec_driver_sql("select unnest(%(some)s::text[])", {"some": ["a", None]})
        assert found.scalars().all() == ["a", None]
    engine.dispose()
