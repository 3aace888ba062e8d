"""What Airflow learns of this package through the ``apache_airflow_provider`` entry point.

Plain data: the hook itself lives in ``plugins/``, and this package never imports airflow.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, with the connection type ``enerflo`` and its form."""
    return {
        "package-name": "enerflo-sync",
        "name": "Enerflo",
        "description": "Enerflo installs, milestones, statuses and notes, in step with a CRM's tables.",
    }
