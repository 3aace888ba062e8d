"""Who may post: secrets that change without a gap, and signatures, over a real socket."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.receiver.conftest import HMAC_KEY, NEXT_SECRET, SECRET, Running, started

BODY = b'{"webhook_event": "new_customer", "id": 7}'
SIGNATURE = hmac.new(HMAC_KEY.encode(), BODY, hashlib.sha256)


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A receiver that wants a signature, and whose secret is being changed."""
    folder = tmp_path_factory.mktemp("signing")
    (folder / "drop").mkdir()
    settings = {
        "RECEIVER_SECRET": f"{NEXT_SECRET}, {SECRET}",
        "RECEIVER_HMAC_KEY": f"{'another-key-' * 4},{HMAC_KEY}",
        "RECEIVER_HEADER_FOR_SECRET": "X-Request-Id",
        "RECEIVER_HEADER_FOR_HMAC": "X-Correlation-Id",
    }
    running = started(folder / "drop", folder / "log", **settings)
    yield running
    assert running.end() == 0


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE.hexdigest(),
        "sha256=" + SIGNATURE.hexdigest(),
        SIGNATURE.hexdigest().upper(),
        base64.b64encode(SIGNATURE.digest()).decode(),
        "sha256=" + base64.b64encode(SIGNATURE.digest()).decode(),
    ],
    ids=["hex", "hex with prefix", "capital hex", "base64", "base64 with prefix"],
)
def test_a_signed_post_is_taken(signing: Running, signature: str) -> None:
    assert signing.post(BODY, x_correlation_id=signature).status_code == 200


def test_the_bytes_on_the_wire_are_signed(signing: Running) -> None:
    packed = gzip.compress(BODY)
    signature = hmac.new(HMAC_KEY.encode(), packed, hashlib.sha256).hexdigest()
    answer = signing.post(packed, content_encoding="gzip", x_correlation_id=signature)
    assert signing.envelope(answer)["body"] == json.loads(BODY)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "0" * 64,
        SIGNATURE.hexdigest()[:-1],
        "sha1=" + SIGNATURE.hexdigest(),
        "sha256=" + hmac.new(b"wrong" * 8, BODY, hashlib.sha256).hexdigest(),
        "é",
    ],
)
def test_a_wrong_signature_is_refused(signing: Running, signature: str) -> None:
    files, count = signing.files(), signing.count("bad_signature")
    assert signing.post(BODY, x_correlation_id=signature.encode("latin-1")).status_code == 401  # type: ignore[arg-type]
    assert signing.count("bad_signature") == count + 1
    assert signing.files() == files


def test_a_signature_does_not_stand_in_for_the_secret(signing: Running) -> None:
    signed = {"x_correlation_id": SIGNATURE.hexdigest()}
    assert signing.post(BODY, path="/hooks/default/wrong", **signed).status_code == 404


def test_both_secrets_open_while_one_replaces_the_other(signing: Running) -> None:
    for secret in (SECRET, NEXT_SECRET):
        signed = {"x_correlation_id": SIGNATURE.hexdigest()}
        assert signing.post(BODY, path=f"/hooks/default/{secret}", **signed).status_code == 200
        by_header = signing.post(BODY, path="/hooks/default", x_request_id=secret, **signed)
        # Both names would be kept if they did not carry a secret and a signature here.
        assert set(signing.envelope(by_header)["headers"]) == {"content-type", "user-agent"}


def test_two_accounts_have_a_secret_and_a_drop_each(tmp_path: Path) -> None:
    config = tmp_path / "sync.yaml"
    config.write_text(two_accounts(tmp_path))
    (tmp_path / "east").mkdir()
    (tmp_path / "west_1").mkdir()
    settings = {"RECEIVER_SECRET_EAST": SECRET, "RECEIVER_SECRET_WEST_1": NEXT_SECRET}
    running = started(tmp_path, tmp_path / "log", ENERFLO_SYNC_CONFIG=str(config), **settings)
    try:
        assert running.post(path=f"/hooks/east/{SECRET}").status_code == 200
        assert running.post(path=f"/hooks/west_1/{NEXT_SECRET}").status_code == 200
        assert running.post(path=f"/hooks/west_1/{SECRET}").status_code == 404
        assert running.post(path=f"/hooks/east/{NEXT_SECRET}").status_code == 404
        for account in ("east", "west_1"):
            (file,) = (tmp_path / account).glob("[!.]*")
            assert json.loads(file.read_bytes())["source"] == f"receiver/{account}"
            assert running.count("stored", account) == 1
        health = requests.get(f"{running.url}/health", timeout=10)
        assert health.json() == {"status": "ok", "drops": {}}
    finally:
        assert running.end() == 0


def two_accounts(folder: Path) -> str:
    """A configuration with two accounts and a mapping of one table."""
    return f"""
version: 1
accounts:
  east: {{webhook_drop_uri: "{folder}/east"}}
  west_1: {{webhook_drop_uri: "file://{folder}/west_1"}}
tables:
  notes:
    crm_table: crm.notes
    key: {{enerflo_note_id: note_id}}
    updated_at: updated_at
    fields:
      body: {{enerflo: body, type: text, source_of_truth: enerflo}}
"""
