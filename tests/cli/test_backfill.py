"""``enerflo-sync backfill`` as a person runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from tests.cli.conftest import Run


def days(world: World, *shares: float) -> list[str]:
    """The days of the company's installs at these shares of their number."""
    created = sorted(row.created_at for row in world.truth.installs())
    return [created[int(share * (len(created) - 1))].date().isoformat() for share in shares]


def test_an_estimate_reads_nothing_into_the_mirror_and_its_resume_reads_it(
    run: Run, world: World, warehouse_url: str
) -> None:
    start, end = days(world, 0.2, 0.7)
    estimated = run("backfill", "--from", start, "--to", end, "--estimate", "--json")
    assert estimated.code == 0, estimated.err
    assert estimated.json["state"] == "estimated"
    engine = sa.create_engine(warehouse_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from enerflo.installs")) == 0
    shown = run("backfill", "--from", start, "--to", end, "--estimate")
    assert "beside live work" in shown.out
    assert "differ from the mirror" in shown.out
    assert "--resume backfill-" in shown.out
    later = shown.out.split("--resume ")[1].strip()
    report = run("backfill", "--resume", later, "--json")
    assert report.code in (0, 1), report.err
    assert report.json["new"] > 0
    assert report.json["read"] == sum(
        report.json[name] for name in ("new", "changed", "unchanged", "quarantined", "skipped")
    )
    assert abs(report.json["error_percent"]["requests"]) < 50
    engine.dispose()


def test_everything_by_four_workers_says_what_it_did(run: Run, world: World) -> None:
    result = run("backfill", "--everything")
    assert result.code == 1
    assert "missing from the source 0" in result.out
    assert "estimated and real: requests" in result.out
    assert "quarantined" in result.out


def test_ids_from_argument_file_and_query_add_up(run: Run, world: World, tmp_path: Path) -> None:
    one, two, three, *_ = [row.install_id for row in world.truth.installs()]
    run("poll")
    path = tmp_path / "ids.txt"
    path.write_text(f"install_id\n{two}\n")
    query = f"select install_id from enerflo.installs where install_id = {three}"
    result = run("backfill", "--ids", f"{one}", "--ids-file", str(path), "--query", query, "--json")
    assert result.code == 0, result.err
    assert result.json["resources"]["installs"]["read"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing says which installs"),
        (["--from", "2025-02-01", "--to", "2025-01-01"], "ends before it begins"),
        (["--from", "2999-01-01"], "begins in the future"),
        (["--everything", "--from", "2024-01-01"], "exclude each other"),
        (["--ids", "12,abc"], "neither an install id"),
        (["--ids-file", "/nowhere"], "cannot be read"),
        (["--query", "select 'x'"], "neither an install id"),
        (["--resume", "backfill-0"], "no such backfill"),
        (["--resume", "backfill-0", "--estimate"], "exclude each other"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_exit_2_before_any_request(
    run: Run, served: SandboxServer, words: list[str], said: str
) -> None:
    result = run("backfill", *words)
    assert result.code == 2
    assert said in " ".join(result.err.split())
    assert "Traceback" not in result.err
    assert not served.api.requests


def test_a_wrong_key_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERFLO_API_KEY", "not-the-key")
    result = run("backfill", "--everything")
    assert result.code == 2
    assert "401" in result.err
    assert "not-the-key" not in result.err
