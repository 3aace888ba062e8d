"""What Airflow learns of this package through the ``apache_airflow_provider`` entry point.

Plain data: the hook itself lives in ``plugins/``, and this package never imports airflow.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}

CONNECTION_FORM: dict[str, Any] = {
    "connection-type": "enerflo",
    "hook-name": "Enerflo",
    "hook-class-name": "enerflo_airflow.hook.EnerfloHook",
    "ui-field-behaviour": {
        # Airflow 3.3.2 refuses to test a connection that was stored without a port: its Test button sends 0
        # for an empty one, and the API takes that for another address than the stored one.
        "hidden-fields": ["schema", "login", "extra"],
        "relabeling": {"host": "Host or address", "password": "API key", "port": "Port (enter 443)"},
        "placeholders": {
            "host": "enerflo.io",
            "port": "443; without it the Test button does not work",
            "password": "the REST key of Enerflo's company settings",
        },
    },
    "conn-fields": {
        "verify": {
            "label": "Check the TLS certificate",
            "description": "Off only for a test server: anyone on the way could read the key.",
            "schema": {"type": ["boolean", "null"], "default": True},
        },
        "ca_bundle": {
            "label": "CA bundle",
            "description": "File on the workers with the CA of the certificate, where it is no public one.",
            "schema": _TEXT,
        },
        "proxy": {
            "label": "Proxy",
            "description": "Address of a proxy on the way to Enerflo, such as http://proxy.example.com:3128.",
            "schema": _TEXT,
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, with the connection type ``enerflo`` and its form."""
    return {
        "package-name": "enerflo-sync",
        "name": "Enerflo",
        "description": "Enerflo installs, milestones, statuses and notes, in step with a CRM's tables.",
        "connection-types": [CONNECTION_FORM],
    }
