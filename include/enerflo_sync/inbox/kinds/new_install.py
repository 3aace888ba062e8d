"""A contract was signed, approved or processed: there is an install (REFERENCE.md §9)."""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_install import install_kind

KIND = install_kind("new_install", "2")
