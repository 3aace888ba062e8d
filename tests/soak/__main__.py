"""Run a company for years: ``make soak [YEARS=5] [SOAK="--step 1"]``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate
from tests.memory import keep_temporary_files_in_memory
from tests.soak.clock import connect
from tests.soak.company import Pace
from tests.soak.judge import problems
from tests.soak.told import tables
from tests.soak.years import company_of, live

MONTHS = 12
# Nothing of the years has to survive a power cut; `SoakCompany.tidy` vacuums.
_QUICK = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    usual = Pace()
    parser.add_argument("--years", type=int, default=5, help="simulated years, 3 at least (5)")
    parser.add_argument("--step", type=float, default=usual.step, help="days between two rounds of jobs (1)")
    parser.add_argument("--installs", type=int, default=usual.installs, help="of the company (300)")
    parser.add_argument("--events", type=float, default=usual.events, help="changes at Enerflo a day (4)")
    parser.add_argument("--edits", type=float, default=usual.edits, help="changes in the CRM a day (3)")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--write", type=Path, help="a file for the tables, beside the output")
    options = parser.parse_args()
    if options.years < 3:
        parser.error("--years 3 at least: the second year is compared with the last")
    pace = Pace(
        installs=options.installs,
        step=options.step,
        events=options.events,
        edits=options.edits,
        seed=options.seed,
    )
    keep_temporary_files_in_memory()
    # The jobs say what they meet, as they should.
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        Path(place).chmod(0o755)
        with embedded_postgres(Path(place) / "data", database="soak") as url:
            engine = warehouse_engine(url)
            _quicken(url)
            migrate(engine)
            engine.dispose()
            folder = Path(place) / "company"
            folder.mkdir()
            with company_of(url, folder, pace) as company:
                measured = list(live(company, options.years, MONTHS, _say))
    text = tables(measured, MONTHS)
    print(text)
    if options.write is not None:
        options.write.write_text(text + "\n")
    found = problems(measured, MONTHS)
    for problem in found:
        print(f"soak: {problem}", file=sys.stderr)
    print(f"{options.years} years in {measured[-1].machine:.0f} s: {len(found)} problems", file=sys.stderr)
    return 1 if found else 0


def _quicken(url: str) -> None:
    with connect(url) as connection:
        for name in _QUICK:
            connection.execute(f"alter system set {name} = off".encode())
        connection.execute("select pg_reload_conf()")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
