"""What no install has.

Wide enough for a utility-scale project, narrow enough to catch a value in the wrong unit.
"""

from __future__ import annotations

MOST_PANELS = 100_000
MOST_KILOWATTS = 50_000.0
MOST_MONEY = 1e9
