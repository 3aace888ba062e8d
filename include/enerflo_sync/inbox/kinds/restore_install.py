"""A voided contract was made anew (REFERENCE.md §9)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_install import install_kind

KIND = install_kind("restore_install", "2")
