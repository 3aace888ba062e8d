"""What a poll does to garbage collection, in processes that have frozen their heap and in those that have not."""

from __future__ import annotations

import gc
import subprocess
import sys
import time

from enerflo_sync.process import spared_heap

_BLOCKS = """
import gc
from enerflo_sync.process import spared_heap
with spared_heap():
    alive = gc.get_freeze_count()
    assert alive > 1000
    with spared_heap():
        assert gc.get_freeze_count() == alive
    assert gc.get_freeze_count() == alive
assert gc.get_freeze_count() == 0
with spared_heap():
    assert gc.get_freeze_count() > 1000
assert gc.get_freeze_count() == 0
"""
_OF_THE_PROCESS = """
import gc
from enerflo_sync.process import spared_heap
gc.freeze()
alive = gc.get_freeze_count()
with spared_heap():
    assert gc.get_freeze_count() == alive
assert gc.get_freeze_count() == alive > 1000
"""


def _run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_alive_is_spared_within_a_block_and_collected_again_after_the_outermost() -> None:
    _run(_BLOCKS)


def test_a_process_that_froze_its_heap_keeps_it_frozen() -> None:
    _run(_OF_THE_PROCESS)


def test_a_block_costs_nothing_however_large_the_frozen_heap_is() -> None:
    """To count a million frozen objects takes 80 ms, as long as a small poll."""
    assert gc.get_freeze_count() > 10_000, "tests/conftest.py freezes what it has collected"
    began = time.process_time()
    gc.get_freeze_count()
    once = time.process_time() - began
    began = time.process_time()
    for _ in range(200):
        with spared_heap():
            pass
    assert time.process_time() - began < max(20 * once, 0.05)
