"""What the tests of a record's page share: records to look at, and what a page says of one."""

from __future__ import annotations

import asyncio
import html
import re
from contextlib import closing
from urllib.parse import quote

from httpx import ASGITransport, AsyncClient, Response

from tests.pages.conftest import Visitor


def path_of(table: str, key: object) -> str:
    return f"record/default/{table}/{quote(str(key), safe='')}"


def an_install(visitor: Visitor, condition: str = "true") -> int:
    """Return an install that differs in its status alone, which the plan writes into the CRM."""
    (row,) = visitor.sql(
        "select i.install_id from sync.plan_changes d"
        " join enerflo.installs i on i.install_id = (d.key ->> 'enerflo_install_id')::bigint"
        " where d.table_name = 'installs' and d.field = 'status' and d.direction = 'to_crm' and d.op = 'update'"
        " and (select count(*) from sync.plan_changes o where o.table_name = 'installs' and o.key = d.key) = 1"
        " and (select count(*) from sync.differences o where o.table_name = 'installs' and o.key = d.key"
        "   and o.reconciliation_id = (select max(reconciliation_id) from sync.reconciliations)) <= 1"
        f" and i.deleted_at is null and {condition} order by i.install_id limit 1"
    )
    return int(row["install_id"])


def served(visitor: Visitor, path: str) -> Response:
    """Return a page as a server passes its address on: a test's client decodes it twice."""

    async def ask() -> Response:
        transport = ASGITransport(app=visitor.client.app)
        cookies = dict(visitor.client.cookies)
        async with AsyncClient(
            transport=transport, base_url="http://localhost:8080", cookies=cookies
        ) as client:
            return await client.get(f"/enerflo/{path}")

    return asyncio.run(ask())


def words(text: str) -> str:
    """Return what a page says, without its looks."""
    bare = re.sub(r"<(style|script)>.*?</\1>", " ", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))


def fields(text: str) -> list[tuple[str, str, str]]:
    """Return the fields in their order, each with what both sides say."""
    found = re.findall(
        r'<th scope="row" class="mono">([^<]+)</th>\s*<td data-label="Enerflo says"><div>(.*?)</div></td>'
        r'\s*<td data-label="CRM says"><div>(.*?)</div></td>',
        text,
        re.DOTALL,
    )
    return [(name, *(words(side).strip() for side in sides)) for name, *sides in found]


def happenings(text: str) -> list[str]:
    part = text.partition('id="history"')[2].partition("</table>")[0]
    return [words(row).strip() for row in re.findall(r"<tr>\s*<td.*?</tr>", part, re.DOTALL)]


def apply_plan(visitor: Visitor) -> str:
    """Apply the open plan, and return its hash."""
    from enerflo_airflow.hook import open_account

    from enerflo_sync.jobs.apply import run_apply

    (plan,) = visitor.sql("select plan_hash from sync.plans where state = 'open' limit 1")
    with closing(open_account("default", reads_enerflo=True)) as account:
        run_apply(account, plan["plan_hash"], approved_by="Sam")
    return str(plan["plan_hash"])
