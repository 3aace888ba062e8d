"""Limits that no real install exceeds.

They allow a utility-scale project, and catch a value in a wrong unit.
"""

from __future__ import annotations

MOST_PANELS = 100_000
MOST_KILOWATTS = 50_000.0
MOST_MONEY = 1e9
