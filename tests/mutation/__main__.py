"""Mutation run: ``make mutate [SAMPLE=300] [MODULE=agreed/agree.py] [SEED=0]``.

Changes one thing at a time in the modules of ``targets.py`` and counts which changes the tests notice. Survivors
that nobody can notice, because the changed code means the same, stand in ``survivors.yaml`` with the reason.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from tests.memory import keep_temporary_files_in_memory
from tests.mutation.mutants import Mutant, mutants, sample
from tests.mutation.reach import Code, Kept, Reach
from tests.mutation.run import ROOT, Tried, measure, test_files, try_all, workers
from tests.mutation.targets import TARGETS

WANTED = 0.95
SURVIVORS = Path(__file__).with_name("survivors.yaml")
ENGINE = ROOT / "include" / "enerflo_sync"


def equivalent() -> dict[str, str]:
    """Return why each known survivor means the same as the code, by the mutant's name."""
    text = SURVIVORS.read_text() if SURVIVORS.exists() else ""
    return {entry["mutant"]: entry["reason"] for entry in yaml.safe_load(text) or ()}


def chosen(module: str | None, number: int | None, seed: int) -> list[Mutant]:
    """Return the mutants of a run.

    :raises SystemExit: no module of that name is mutated.
    """
    targets = [target for target in TARGETS if module in (None, target.module)]
    if not targets:
        raise SystemExit(f"{module} is not mutated; known: {', '.join(t.module for t in TARGETS)}")
    return sample([one for target in targets for one in mutants(target, ENGINE)], number, seed)


def main() -> int:
    """Run and report; 1 where less than 95 % of what is not equivalent is noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=None, help="how many mutants; all where absent")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--module", default=None, help="one module, such as agreed/agree.py")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=45, help="tests of how many seconds for each mutant")
    parser.add_argument("--only", nargs="*", default=None, metavar="NAME", help="these mutants")
    parser.add_argument("--tests", nargs="*", metavar="FILE", help="with these files of tests alone")
    parser.add_argument("--list", action="store_true", help="list the mutants and run nothing")
    options = parser.parse_args()
    known = equivalent()
    found = [one for one in chosen(options.module, options.sample, options.seed) if one.name not in known]
    if options.only is not None:
        found = [one for one in found if one.name in options.only]
    if options.list:
        for one in found:
            print(f"{one.name} {one.target.module}:{one.line} {one.operator}\n{one.diff}\n")
        print(f"{len(found)} mutants")
        return 0
    # An end by SIGTERM takes the server and the copies away, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keep_temporary_files_in_memory()
    began, tried = time.monotonic(), []
    code = Code({target.module: (ENGINE / target.module).read_text() for target in TARGETS})
    kept = Kept(ROOT / ".mutation" / "reached.json", code)
    with workers(options.workers) as running:
        files = test_files(options.tests or (name for one in found for name in one.target.tests))
        reach = Reach(code, measure(running, files, kept, list(code.modules)))
        print(f"measured what tests reach in {time.monotonic() - began:.0f} s", flush=True)
        try:
            for one in try_all(running, found, reach, options.seconds):
                tried.append(one)
                if one.outcome != "killed":
                    print(_told(one), flush=True)
                if sys.stderr.isatty():
                    print(f"\r{len(tried)} of {len(found)}", end="", file=sys.stderr, flush=True)
        except (KeyboardInterrupt, SystemExit):
            # Whoever ends a long run early wants to know how far it came.
            _report(tried, len(known), time.monotonic() - began)
            raise
    return _report(tried, len(known), time.monotonic() - began)


def _told(one: Tried) -> str:
    mutant = one.mutant
    where = f"{mutant.target.module}:{mutant.line}"
    return f"\n{one.outcome} {mutant.name} {where} ({mutant.operator}, {one.seconds:.0f} s, {one.tests[0]} of {one.tests[1]} tests)\n{mutant.diff}"


def _report(tried: list[Tried], equivalents: int, seconds: float) -> int:
    by_module: dict[str, Counter[str]] = {}
    for one in tried:
        by_module.setdefault(one.mutant.target.module, Counter())[one.outcome] += 1
    print()
    for module, counts in sorted(by_module.items()):
        print(f"{module:<28} {counts['killed']:>4} of {counts.total():>4} noticed")
    killed = sum(counts["killed"] for counts in by_module.values())
    share = killed / len(tried) if tried else 1.0
    print(
        f"{killed} of {len(tried)} mutants noticed ({share:.1%}, wanted {WANTED:.0%}) in {seconds:.0f} s;"
        f" {equivalents} more are known to mean the same (survivors.yaml)"
    )
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
