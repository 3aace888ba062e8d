"""A warehouse that refuses one record as data that it cannot hold."""

from __future__ import annotations

import sqlalchemy as sa

_REFUSING = """
create function refuse() returns trigger language plpgsql as $$
begin
  if new.{column} = {record} then raise exception using errcode = '22000'; end if;
  return new;
end $$;
create trigger refuse before insert or update on enerflo.{table} for each row execute function refuse()
"""


def refuse(warehouse: sa.Engine, table: str, column: str, record: int | str) -> None:
    """Let the mirror's ``table`` refuse the rows of one record from now on; its id as SQL has it."""
    with warehouse.begin() as connection:
        connection.execute(sa.text(_REFUSING.format(table=table, column=column, record=record)))
