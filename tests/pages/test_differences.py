"""The page of differences: what it shows, how it is filtered, and that each page ends where the next begins."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from enerflo_sync.pages import differences
from tests.pages.company import PageCompany
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow
PAGE = "differences/default"
DIFFERENCE = re.compile(
    r'data-label="Enerflo says">(.*?)</td>\s*<td data-label="CRM says">(.*?)</td>', re.DOTALL
)


def keys(text: str) -> list[str]:
    return re.findall(r'<a class="mono" href="/enerflo/record/default/([^"]+)"', text)


def total(text: str) -> int:
    found = re.search(r"<h1>([\d,]+) differences?</h1>", text)
    assert found, text
    return int(found[1].replace(",", ""))


def stored(visitor: Visitor, condition: str = "true") -> int:
    (row,) = visitor.sql(
        "select count(*) as n from sync.differences d where reconciliation_id = (select reconciliation_id"
        f" from sync.reconciliations order by compared_until desc limit 1) and {condition}"
    )
    return int(row["n"])


@pytest.mark.parametrize("query", ["", "?age=0"])
def test_every_difference_stands_on_exactly_one_page(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    pat = visitor("VIEWER")
    whole = DIFFERENCE.findall(pat.text(PAGE + query))
    monkeypatch.setattr(differences, "PAGE", 7)
    path: str | None = PAGE + query
    lines, pages, seen = 0, 0, list[tuple[str, str]]()
    while path:
        text = pat.text(path)
        assert total(text) == stored(pat)
        lines += text.count('data-label="Enerflo says"')
        seen += DIFFERENCE.findall(text)
        pages += 1
        following = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
        path = html.unescape(following[1]) if following else None
    assert lines == stored(pat) > 20
    assert pages == -(-lines // 7)
    assert seen[: len(whole)] == whole


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("table=installs", "table_name = 'installs'"),
        ("field=panel_count", "field = 'panel_count'"),
        ("field=(record)", "field is null"),
        ("cause=unexplained", "cause = 'unexplained'"),
        ("table=installs&cause=unexplained&field=status", "field = 'status' and cause = 'unexplained'"),
        ("age=0", "true"),
        ("age=1", "since < now() - interval '1 day'"),
        ("q=crm-draft", "key::text like '%crm-draft%'"),
        ("q=pending", "field = 'status' and crm_value::text ilike '%pending%'"),
        ("q=%25", "false"),
        ("table=nowhere", "false"),
    ],
)
def test_a_filter_shows_and_counts_what_it_says(
    visitor: Callable[..., Visitor], query: str, condition: str
) -> None:
    pat = visitor("VIEWER")
    text = pat.text(f"{PAGE}?{query}")
    assert total(text) == stored(pat, condition)
    assert text.count('data-label="Enerflo says"') == min(total(text), 50)


@pytest.mark.parametrize("text", ["STRASSE 9", "über str", "ÜBER", "ß"])
def test_capitals_do_not_matter_to_what_is_looked_for(visitor: Callable[..., Visitor], text: str) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "update sync.differences set crm_value = to_jsonb('Über Straße, strasse 9'::text) where difference_id ="
        " (select max(difference_id) from sync.differences where field = 'status')"
    )
    assert total(pat.text(f"{PAGE}?{urlencode({'q': text})}")) == 1


def test_what_differed_before_tells_since_when(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql("update sync.differences set since = now() - interval '8 days' where field = 'panel_count'")
    text = pat.text(f"{PAGE}?age=7")
    assert total(text) == stored(pat, "field = 'panel_count'") > 0
    assert ">8 d</time>" in text


def test_nothing_personal_is_found_by_what_it_says(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    (note,) = pat.sql("select crm_value #>> '{}' as text from sync.differences where field = 'body' limit 1")
    assert total(pat.text(f"{PAGE}?q={note['text'][:8]}")) == 0
    assert note["text"] not in pat.text(f"{PAGE}?table=notes")


def test_a_key_that_is_personal_is_found_by_no_part_of_it(
    visitor: Callable[..., Visitor],
    told_company: PageCompany,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pat = visitor("VIEWER")
    assert total(pat.text(f"{PAGE}?q=crm-draft")) > 0
    mapped = Path(told_company.environ["ENERFLO_SYNC_CONFIG"]).read_text()
    personal = "fields:\n      note_id: {enerflo: note_id, type: text, personal_data: name}\n"
    before, notes, after = mapped.partition("  notes:\n")
    (tmp_path / "sync.yaml").write_text(before + notes + after.replace("fields:\n", personal, 1))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(tmp_path / "sync.yaml"))
    assert total(pat.text(f"{PAGE}?q=crm-draft")) == 0
    assert "crm-draft" not in pat.text(f"{PAGE}?table=notes")


@pytest.mark.parametrize(
    "query",
    [
        "cause=nonsense",
        "hint=nonsense",
        "age=x",
        "age=-1",
        "age=99999",
        "after=x",
        "after=[1,2,3]",
        "after=[1,%22installs%22,99999999999999999999]",
        "after=" + "[" * 5000,
        "q=" + "x" * 201,
    ],
)
def test_an_address_that_cannot_be_read_is_said_so(visitor: Callable[..., Visitor], query: str) -> None:
    answer = visitor("VIEWER").get(f"{PAGE}?{query}")
    assert answer.status_code == 400
    assert "This address leads nowhere" in answer.text
    assert 'href="/enerflo/overview/default"' in answer.text


@pytest.mark.parametrize(
    "query", ["table=%27%3B--", "field=%22%3Cscript%3Ealert(1)", "q=%5C%5C%25", "q=zzzz%00zzzz"]
)
def test_what_nobody_has_finds_nothing_and_is_shown_as_text(
    visitor: Callable[..., Visitor], query: str
) -> None:
    text = visitor("VIEWER").text(f"{PAGE}?{query}")
    assert total(text) == 0
    assert "Nothing matches" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("query", ["", "&age=0"])
def test_behind_the_last_difference_the_first_page_stands_and_not_nothing(
    visitor: Callable[..., Visitor], query: str
) -> None:
    pat = visitor("VIEWER")
    text = pat.text(f'{PAGE}?after=[99,"zzz",1]{query}')
    assert total(text) == stored(pat) > 0
    assert "Nothing matches" not in text


def test_a_reconciliation_that_is_not_there_is_said_so(visitor: Callable[..., Visitor]) -> None:
    answer = visitor("VIEWER").get(f"{PAGE}?run=nope")
    assert answer.status_code == 404
    assert "No such reconciliation" in answer.text


def test_the_next_page_is_of_the_same_reconciliation_also_when_a_newer_one_ended(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    monkeypatch.setattr(differences, "PAGE", 5)
    following = re.search(r'href="/enerflo/([^"]+)" rel="next"', pat.text(PAGE))
    assert following
    address = html.unescape(following[1])
    before = keys(pat.text(address))
    pat.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
        " config_hash, compared_until, report) select account, 'newer', now(), now(), scope, config_hash, now(),"
        " report from sync.reconciliations limit 1"
    )
    assert keys(pat.text(address)) == before


def test_differences_that_were_deleted_by_age_are_not_called_none(visitor: Callable[..., Visitor]) -> None:
    """The report keeps its counts, and a link of it leads here."""
    pat = visitor("VIEWER")
    before = total(pat.text(PAGE))
    assert before
    pat.sql("delete from sync.differences")
    text = pat.text(PAGE)
    assert total(text) == before
    assert "These differences were deleted by age" in text
    assert "nothing to look at" not in text
