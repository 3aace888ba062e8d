"""The floor under every poll: the pages are fetched over ``requests`` and thrown away."""

from __future__ import annotations

from typing import Any

import msgspec
import requests

from benchmarks.jobs import LoadJob

PER_PAGE = 500


class _Page(msgspec.Struct):
    total: int
    results: list[msgspec.Raw]


def run(job: LoadJob) -> dict[str, Any]:
    """Read every page, split it into records, and count them."""
    session = requests.Session()
    read = sent = 0
    while True:
        sent += 1
        answer = session.get(
            f"{job.base_url}/api/v3/installs",
            params={"page": sent, "per_page": job.per_page or PER_PAGE},
            headers={"api-key": job.api_key},
            timeout=60,
        )
        page = msgspec.json.decode(answer.content, type=_Page)
        read += len(page.results)
        if not page.results or read >= page.total:
            return {"read": read, "requests": sent}
