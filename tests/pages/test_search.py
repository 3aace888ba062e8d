"""Search: each way to name a record finds it, nothing personal is shown, and nothing typed is logged."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow


def an_install(visitor: Visitor) -> dict[str, str]:
    (row,) = visitor.sql(
        "select i.install_id, i.deal_id, i.customer_name, c.customer_id, c.email, l.lead_id"
        " from enerflo.installs i join enerflo.customers c using (account, customer_id)"
        " join crm.leads l on l.enerflo_customer_id = c.customer_id"
        " where i.deal_id is not null and c.email is not null and i.deleted_at is null"
        " and position(' ' in i.customer_name) > 0 order by i.install_id limit 1"
    )
    return {name: str(value) for name, value in row.items()}


def found(text: str) -> set[str]:
    return set(re.findall(r'<th scope="row"><a class="mono" href="/enerflo/record/default/([^"]+)"', text))


def test_debug(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    one = an_install(pat)
    print(one)
    for q in (
        one["install_id"],
        one["deal_id"],
        one["customer_name"],
        one["email"],
        one["lead_id"],
        one["customer_id"],
    ):
        a = pat.get(f"search/default?q={q}")
        print(q, a.status_code, a.headers.get("location"))
        if a.status_code == 200:
            print(
                re.sub(
                    r"\s+",
                    " ",
                    re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]+>", " ", a.text, flags=re.S),
                )
            )
        else:
            t = pat.get(a.headers["location"].removeprefix("/enerflo/")).text
            print(
                len(t),
                re.sub(
                    r"\s+",
                    " ",
                    re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]+>", " ", t, flags=re.S),
                ),
            )
    assert 0
