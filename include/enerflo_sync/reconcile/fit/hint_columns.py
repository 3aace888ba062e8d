"""A hint in the two columns of ``sync.differences``: its word, and its detail as an object."""

from __future__ import annotations

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.fit.hints import NEWER


def hint_word(hint: str) -> str:
    """Return the SQL of the word of a hint that may have a detail (``rounded:0.005``), or null."""
    return f"split_part({hint}, ':', 1)"


def has_no_form(hint: str) -> str:
    """Return the condition that a stored hint does not say how the two values may be the same."""
    return f"coalesce({hint} in ({', '.join(map(literal, NEWER))}), true)"


def hint_detail(hint: str) -> str:
    """Return the SQL of a hint's detail as ``jsonb``, named by what it is; null where the hint has none."""
    detail = f"split_part({hint}, ':', 2)"
    return f"""(case when coalesce({detail}, '') = '' then null
      when {detail} = 'trim' then jsonb_build_object('trim', true)
      when {hint_word(hint)} = 'constant_offset' then jsonb_build_object('minutes', {detail}::numeric)
      when {hint_word(hint)} = 'truncated' then jsonb_build_object('length', {detail}::integer)
      when {detail} ~ '^[0-9]' then jsonb_build_object('tolerance', {detail}::numeric)
      else jsonb_build_object('unit', {detail}) end)"""
