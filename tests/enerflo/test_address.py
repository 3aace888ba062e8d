"""Base URLs and keys that cannot be used are refused before anything is sent."""

from __future__ import annotations

import random

import pytest
import requests

from enerflo_sync.clock import SystemClock
from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.errors import ConfigurationError


def client_of(url: str, key: str = "good-key", **more: bool) -> EnerfloClient:
    return EnerfloClient(
        requests.Session(),
        url,
        key,
        budget=UnlimitedBudget(),
        clock=SystemClock(),
        rng=random.Random(1),
        **more,
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://enerflo.io",
        "https://enerflo.io/",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "https://proxy.example/enerflo",
    ],
)
def test_https_and_this_machine_are_accepted(url: str) -> None:
    client_of(url)


@pytest.mark.parametrize("url", ["http://enerflo.io", "http://192.168.1.5", "http://127.0.0.1.example"])
def test_plain_http_to_another_machine_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="without encryption"):
        client_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "enerflo.io",
        "ftp://enerflo.io",
        "https://",
        "https://u:p@enerflo.io",
        "https://enerflo.io?a=1",
        "https://a:x",
    ],
)
def test_anything_else_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="form https://") as raised:
        client_of(url)
    assert "u:p" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "kéy"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="API key") as raised:
        client_of("https://enerflo.io", key)
    assert not key.strip() or key not in str(raised.value)


def test_blanks_around_a_pasted_key_and_url_do_no_harm() -> None:
    assert repr(client_of(" https://enerflo.io/ ", " good-key\n")) == "EnerfloClient(https://enerflo.io)"
