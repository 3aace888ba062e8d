"""What a demo leaves behind outside the warehouse, and whether it speaks of people or secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from enerflo_demo.story import KEY, Demo

# The data itself, where it belongs: the warehouse, what Enerflo sent, and the company at the vendor's.
_DATA = ("postgres", "webhooks", "sandbox")

_PEOPLE = sa.text("""
select first_name || ' ' || last_name from enerflo.customers
union select email from enerflo.customers union select mobile from enerflo.customers
union select address from enerflo.customers union select customer_name from enerflo.installs
union select body from enerflo.notes
""")


def canaries(demo: Demo) -> set[str]:
    """Return what nobody may read outside the warehouse: the key, and what the mirror says of people."""
    with demo.engine.connect() as connection:
        people = [text for text in connection.scalars(_PEOPLE) if text and len(text) > 7]
    return {KEY, *people}


def left_behind(demo: Demo) -> dict[str, set[str]]:
    """Return the lines of each file of the demo, and of each table of Airflow's database, by its name."""
    found = dict(_of_files(demo.home)) | dict(_of_airflow(demo.airflow_url))
    return {name: set(text.splitlines()) for name, text in found.items()}


def _of_files(home: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home)
        if path.is_file() and name.parts[0] not in _DATA:
            yield str(name), path.read_text(errors="replace")


def _of_airflow(url: str) -> Iterator[tuple[str, str]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            rows = connection.scalars(sa.text(f'select t::text from "{table}" t'))
            yield f"airflow.{table}", "\n".join(rows)
    engine.dispose()
