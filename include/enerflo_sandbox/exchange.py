"""A request and its answer as plain values, the same behind the socket and in process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl

import msgspec

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


class Cut(StrEnum):
    """Whether the connection breaks: not at all, before any byte of the answer, or in its body."""

    NONE = "none"
    BEFORE_ANSWER = "before_answer"
    IN_BODY = "in_body"


@dataclass(frozen=True)
class Request:
    """One request.

    :param path: without query, as sent.
    :param query: the raw query string, without ``?``.
    :param headers: names in lower case.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def parameters(self) -> dict[str, str]:
        """Return the query parameters; of a repeated name the last one counts, as in PHP."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True)
class Response:
    """One answer, and how it travels.

    :param headers: names in lower case; ``content-length`` is added by whoever sends it.
    :param delay: seconds that pass before the first byte.
    :param cut: how the connection breaks.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    delay: float = 0.0
    cut: Cut = Cut.NONE


def json_answer(value: object, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer."""
    return Response(status, {"content-type": JSON}, msgspec.json.encode(value))


def raw_answer(body: bytes) -> Response:
    """Return ready JSON bytes as a 200 answer."""
    return Response(200, {"content-type": JSON}, body)


def refusal(status: int, message: str, errors: Mapping[str, list[str]] | None = None) -> Response:
    """Return a JSON error in Laravel's form; the vendor's own form is not known (REFERENCE.md §12)."""
    body: dict[str, object] = {"message": message}
    if errors is not None:
        body["errors"] = dict(errors)
    return json_answer(body, status)


def html_page(status: int, title: str) -> Response:
    """Return an HTML error page, which is what proxies and Laravel's throttle send."""
    head = f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head>'
    body = f"{head}<body>{title}.</body></html>\n"
    return Response(status, {"content-type": HTML}, body.encode())
