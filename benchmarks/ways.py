"""One of the ways to do a job that a benchmark puts side by side."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One way to do a job; ``needs`` are the packages that it imports and ours does not.

    :param module: of :mod:`benchmarks.peers`; does the job in a process of its own.
    """

    name: str
    module: str
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Return which of the packages it needs are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    @property
    def not_installed(self) -> str:
        """Return why a way is not measured of which a package is missing."""
        return f"not installed: {', '.join(self.missing)}; run it by make bench"
