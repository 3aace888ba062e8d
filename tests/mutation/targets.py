"""What is mutated, and which tests must notice: the modules that decide what is read, compared and written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One module, and the tests that hold it, those first that are quick and likely to notice."""

    module: str
    tests: tuple[str, ...]


_PLANS = (
    "tests/sync/test_truth_table.py",
    "tests/sync/test_decide.py",
    "tests/sync/test_agree.py",
    "tests/sync/test_apply.py",
    "tests/sync/test_rounds.py",
    "tests/sync/test_creations.py",
    "tests/sync",
)
_COMPARE = ("tests/reconcile/test_values.py", "tests/reconcile/test_causes.py", "tests/reconcile", *_PLANS)
_POLLS = (
    "tests/mirror/test_intake.py",
    "tests/mirror/test_poll.py",
    "tests/mirror/test_deletion.py",
    "tests/mirror",
)

TARGETS = (
    Target("crm/decision.py", ("tests/crm", *_PLANS)),
    Target("sync/decide.py", _PLANS),
    Target("sync/agree.py", ("tests/sync/test_agree.py", *_PLANS)),
    Target("reconcile/odd.py", _COMPARE),
    Target("reconcile/judge.py", _COMPARE),
    Target("reconcile/values.py", _COMPARE),
    Target("reconcile/incremental.py", ("tests/reconcile/test_incremental.py", *_COMPARE)),
    Target("mirror/intake.py", _POLLS),
    Target("mirror/sweep.py", ("tests/mirror/test_deletion.py", *_POLLS)),
    Target("enerflo/pages.py", ("tests/enerflo/test_pages.py", "tests/enerflo", *_POLLS)),
)
