"""The submit button on the next-steps page was pressed (REFERENCE.md §9)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_install import install_kind

KIND = install_kind("submit_install", "2")
