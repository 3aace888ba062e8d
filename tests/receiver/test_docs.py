"""The examples in docs/receiver.md are what the code does."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enerflo_sync.inbox.unpack import Document, unpack
from enerflo_sync.receiver import settings
from enerflo_sync.receiver.envelope import KEPT_HEADERS
from enerflo_sync.receiver.outcomes import PostOutcome

PAGE = (Path(__file__).parents[2] / "docs" / "receiver.md").read_text()


def blocks() -> list[str]:
    """The indented blocks of the page, without their indent."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", PAGE, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def test_the_inbox_reads_each_file_that_the_page_shows() -> None:
    shown = [block for block in blocks() if block.startswith('{"') and '"stored"' not in block]
    assert len(shown) == 2
    for block in shown:
        (document,) = unpack(block.encode(), most_file=10_000, most_event=10_000)
        assert isinstance(document, Document)
        assert document.body == {"webhook_event": "new_customer", "id": 7}
        assert document.received_at is not None


def test_the_lambda_function_keeps_what_the_inbox_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (block for block in blocks() if "def handler" in block)
    put: dict[str, Any] = {}
    boto3 = SimpleNamespace(client=lambda _: SimpleNamespace(put_object=put.update))
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    monkeypatch.setenv("BUCKET", "hooks")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    event = {
        "rawPath": "/hooks/secret",
        "body": '{"id": 7}',
        "isBase64Encoded": False,
        "requestContext": {"timeEpoch": 1736151302123, "requestId": "r="},
    }
    assert names["handler"](event, None) == {"statusCode": 200}
    assert "secret" not in put["Body"]
    (document,) = unpack(put["Body"].encode(), most_file=10_000, most_event=10_000)
    assert isinstance(document, Document)
    assert document.body == {"id": 7}
    assert json.loads(put["Body"])["requestContext"] == {"timeEpoch": 1736151302123}


def test_every_answer_default_and_header_is_on_the_page() -> None:
    told = {int(status) for status in re.findall(r"^\| (\d{3})\b", PAGE, re.MULTILINE)}
    assert told == {outcome.status for outcome in PostOutcome} | {405}
    for value in (
        f"{settings.DEFAULT_MAX_BYTES:,}",
        settings.DEFAULT_SECRET_HEADER,
        settings.DEFAULT_HMAC_HEADER,
        str(settings.DEFAULT_PORT),
        *KEPT_HEADERS,
    ):
        assert f"`{value}`" in PAGE or f" {value} " in PAGE, value
