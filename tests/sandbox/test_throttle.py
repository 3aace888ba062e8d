from __future__ import annotations

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.throttle import FixedWindow
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World

from .conftest import Ask, asking


def test_every_answer_says_what_is_left_of_the_limit(ask: Ask) -> None:
    first, second, missing = (
        ask("GET", "/api/v3/authcheck"),
        ask("GET", "/api/v3/offices"),
        ask("GET", "/nope"),
    )
    assert [answer.headers["x-ratelimit-limit"] for answer in (first, second, missing)] == ["300"] * 3
    left = [answer.headers["x-ratelimit-remaining"] for answer in (first, second, missing)]
    assert left == ["299", "298", "297"]


def test_the_301st_request_of_a_window_is_refused_with_html_and_the_window_then_reopens(world: World) -> None:
    clock = world.clock
    assert isinstance(clock, VirtualClock)
    api = SandboxApi(world)
    ask = asking(api)
    assert all(ask("GET", "/api/v3/authcheck").status == 200 for _ in range(300))
    clock.sleep(19)
    refused = ask("GET", "/api/v3/authcheck")
    assert refused.status == 429
    assert refused.headers["content-type"].startswith("text/html")
    assert refused.body.startswith(b"<!DOCTYPE html>")
    assert (refused.headers["retry-after"], refused.headers["x-ratelimit-remaining"]) == ("41", "0")
    assert int(refused.headers["x-ratelimit-reset"]) == int(clock.now().timestamp()) + 41
    clock.sleep(40.9)
    assert ask("GET", "/api/v3/authcheck").status == 429
    clock.sleep(0.1)
    assert ask("GET", "/api/v3/authcheck").headers["x-ratelimit-remaining"] == "299"
    usage = api.usage["sandbox-key"]
    assert (usage.accepted, usage.refused, usage.most_in_a_window) == (301, 2, 300)


def test_each_key_has_a_limit_of_its_own(world: World) -> None:
    ask = asking(SandboxApi(world, keys=("one", "two"), rate_limit=2))
    assert [ask("GET", "/api/v3/authcheck", key="one").status for _ in range(3)] == [200, 200, 429]
    assert ask("GET", "/api/v3/authcheck", key="two").status == 200


def test_a_window_starts_with_its_first_request_and_not_with_the_minute() -> None:
    window = FixedWindow(2)
    verdicts = [window.admit("key", now).allowed for now in (59.0, 61.0, 118.9, 119.0, 170.0, 178.0)]
    assert verdicts == [True, True, False, True, True, False]
    assert [count for _, count in window.usage["key"].windows] == [2, 2]


def test_requests_are_counted_by_method_and_path(ask: Ask, api: SandboxApi) -> None:
    for page in (1, 2):
        ask("GET", f"/api/v3/installs?page={page}")
    assert api.requests["GET", "/api/v3/installs"] == 2
