"""A CRM of which only the milestones are mapped: the smallest table with a key of two columns."""

from __future__ import annotations

_CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  milestones:
    crm_table: crm.milestones
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    updated_at: updated_at
    fields:
"""


def milestones_mapped(*fields: str) -> str:
    """Return a sync.yaml with these fields, each a line such as ``title: {enerflo: title, type: text}``."""
    return _CONFIG + "".join(f"      {field}\n" for field in fields)
