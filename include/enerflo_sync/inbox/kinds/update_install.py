"""Anything about an install changed, its status included.

Both shapes name the install in root ``id``. Where the status stands does not matter (``status.id`` in real
payloads, flat ``status_id`` in the vendor's dictionary, REFERENCE.md §13.1): the install is read again.
"""

from __future__ import annotations

from enerflo_sync.inbox.kinds.of_install import install_kind

KIND = install_kind("update_install", "4.2")
