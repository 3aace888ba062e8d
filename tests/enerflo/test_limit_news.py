"""What one answer says about the request limit is believed within bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sync.enerflo.answers import limit_news


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry-after", "1000000000"),
        ("retry-after", "99999999999999999999999"),
        ("retry-after", "-5"),
        ("retry-after", "nan"),
        ("retry-after", "inf"),
        ("retry-after", "1e9"),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 -2359"),
        ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("x-ratelimit-reset", "8589934591"),
        ("x-ratelimit-reset", "9" * 400),
        ("x-ratelimit-reset", "-1"),
        ("x-ratelimit-limit", "999999999999999"),
        ("x-ratelimit-remaining", "999999999999999"),
        ("date", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_what_headers_say_holds_nobody_up_for_more_than_an_hour(name: str, value: str) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    news = limit_news({name: value}, now)
    assert news.retry_after is None or 0 <= news.retry_after <= 3_600
    assert news.reset_at is None or now <= news.reset_at <= now + timedelta(hours=1)
    assert news.limit is None
    assert news.remaining is None
