"""``enerflo-sync sandbox``: a simulated Enerflo company to try everything on."""

from __future__ import annotations

from enerflo_sync.sandbox.cli import app

__all__ = ["app"]
