"""Messages go by a prune alone: a job that tells deletes none, its own account's or another's."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.notify.store import keep


def test_who_tells_deletes_no_message_by_age(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "insert into sync.notifications (account, event, route, subject, text, page, page_id, count, state,"
            " created_at) select account, 'plan_waiting', 'r', 's', 't', 'plans', '', 1, state,"
            " now() - interval '91 days' from unnest(array['west', 'east'], array['pending', 'sent']) n (account, state)"
        )
        keep(connection, [], connection.scalar(sa.text("select now()")))
        assert connection.scalar(sa.text("select count(*) from sync.notifications")) == 2
