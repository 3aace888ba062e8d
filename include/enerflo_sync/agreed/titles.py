"""Keeps the titles that milestones have, so that a later plan knows whose title a column named."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.live.milestone_titles import STORED_AS, kept_titles, present_titles, titled_columns
from enerflo_sync.reconcile.compare import Comparison

_STORE = sa.text("""
/* enerflo-sync plan: titles that milestones have */
insert into sync.agreed_keys (account, table_name, columns) values (:account, :stored_as, :titles)
on conflict (account, table_name) do update set columns = excluded.columns
""").bindparams(sa.bindparam("titles", type_=JSONB))


def follow_titles(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Keep the titles that milestones have by now, if a column names its milestone by a title."""
    if any(titled_columns(comparison.mapping) for comparison in comparisons):
        titles = present_titles(connection, account)
        if titles != kept_titles(connection, account):
            named = {"account": account, "stored_as": STORED_AS}
            connection.execute(_STORE, {**named, "titles": titles.as_stored()})
