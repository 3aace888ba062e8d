"""The simulated company that every contender reads, served by a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import requests

from benchmarks.measure import ROOT, CouldNotMeasureError

API_KEY = "sandbox-key"
# A second key has a limit of its own: what is read in preparation takes nothing of the measured one's.
OTHER_KEY = "other-sandbox-key"
# Far above what any contender can send: the vendor's 300 a minute would measure nothing but waiting.
RATE_LIMIT = 10**9
SEED = 13
# Rendered records that the server keeps ready, about 5 KB each; the others are made when asked for.
KEPT_RECORDS = 60_000


class _Milestone(msgspec.Struct):
    id: int


class _Install(msgspec.Struct):
    id: int
    status_id: int
    all_milestones: list[_Milestone]


class _Page(msgspec.Struct):
    total: int
    results: list[_Install]


@dataclass(frozen=True)
class Truth:
    """What the company holds: the sums by which a contender's tables are checked."""

    installs: int
    id_sum: int
    status_sum: int
    milestones: int


class Company:
    """A running company.

    :param url: where it answers.
    :param installs: how many it has.
    """

    def __init__(self, url: str, installs: int) -> None:
        self.url = url
        self.installs = installs
        self._session = requests.Session()

    def requests_served(self) -> int:
        """Return how many API requests were answered so far, whoever sent them."""
        usage = self._session.get(f"{self.url}/_sandbox/usage", timeout=60).json()
        return int(sum(usage["requests"].values()))

    def accepted_and_refused(self) -> tuple[int, int]:
        """Return how many requests were let pass and how many got 429, by the limit of whatever key."""
        keys = self._session.get(f"{self.url}/_sandbox/usage", timeout=60).json()["keys"]
        return sum(key["accepted"] for key in keys), sum(key["refused"] for key in keys)

    def change(self, events: int) -> int:
        """Give that many installs another status and return how many distinct ones changed."""
        order = {"minutes": 1, "events": events, "kinds": ["status_changed"]}
        answer = self._session.post(f"{self.url}/_sandbox/step", json=order, timeout=300)
        answer.raise_for_status()
        return len({change["install_id"] for change in answer.json()["changes"]})

    def truth(self) -> Truth:
        """Return what a complete walk over the API finds now."""
        installs = id_sum = status_sum = milestones = 0
        for number in range(1, self.installs // 500 + 3):
            page = self._page(number)
            installs += len(page.results)
            id_sum += sum(one.id for one in page.results)
            status_sum += sum(one.status_id for one in page.results)
            milestones += sum(len(one.all_milestones) for one in page.results)
            if installs >= page.total or not page.results:
                break
        return Truth(installs, id_sum, status_sum, milestones)

    def bytes_of_one(self) -> int:
        """Return the size of one install's JSON."""
        answer = self._get({"page": 1, "per_page": 20})
        return len(answer.content) // max(1, len(msgspec.json.decode(answer.content, type=_Page).results))

    def _page(self, number: int) -> _Page:
        return msgspec.json.decode(self._get({"page": number, "per_page": 500}).content, type=_Page)

    def _get(self, parameters: dict[str, int]) -> requests.Response:
        headers = {"api-key": API_KEY}
        url = f"{self.url}/api/v3/installs"
        answer = self._session.get(url, params=parameters, headers=headers, timeout=300)
        answer.raise_for_status()
        return answer


@contextmanager
def running_company(
    installs: int, rate_limit: int = RATE_LIMIT, page_seconds: float = 0.0, kept: int = KEPT_RECORDS
) -> Iterator[Company]:
    """Serve a company of so many installs until the end of the block; its answers are rendered first.

    :param rate_limit: requests a minute of each key.
    :param page_seconds: what an answer of 500 installs takes, smaller ones less.
    :param kept: rendered records that the server keeps ready.
    """
    words = map(str, (installs, rate_limit, page_seconds / 500, kept))
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.company", *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise CouldNotMeasureError("the simulated company did not start")
        yield Company(url, installs)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def main() -> None:
    """Serve until standard input ends."""
    from enerflo_sandbox.api import SandboxApi
    from enerflo_sandbox.server import SandboxServer
    from enerflo_sandbox.world import World
    from enerflo_sync.clock import SystemClock

    kept = int(sys.argv[4])
    world = World(int(sys.argv[1]), SEED, clock=SystemClock(), cached_records=kept)
    for number in world.installs.page(0, kept):
        world.rendered(number)
    api = SandboxApi(
        world,
        keys=(API_KEY, OTHER_KEY),
        rate_limit=int(sys.argv[2]),
        seconds_per_record=float(sys.argv[3]),
    )
    with SandboxServer(api) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
