"""Renders a plan as text and JSON with personal data masked; ``pages/plans.py`` renders its page."""

from __future__ import annotations

from enerflo_sync.plan.render.structured import write_plan
from enerflo_sync.plan.render.text import plan_lines, plan_summary

__all__ = [
    "plan_lines",
    "plan_summary",
    "write_plan",
]
