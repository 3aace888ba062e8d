"""Turns a plan into text, HTML and JSON, personal data masked; decides nothing."""

from __future__ import annotations

from enerflo_sync.plan.render.html import render_plan, render_plans
from enerflo_sync.plan.render.structured import write_plan
from enerflo_sync.plan.render.text import plan_lines, plan_summary

__all__ = [
    "plan_lines",
    "plan_summary",
    "render_plan",
    "render_plans",
    "write_plan",
]
