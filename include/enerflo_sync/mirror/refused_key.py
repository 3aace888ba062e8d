"""A key that Enerflo accepts but that may read nothing: the run fails instead of ending as partial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from enerflo_sync.enerflo.failures import AuthenticationError, PermissionRefusedError
from enerflo_sync.enerflo.statuses import read_status_rows
from enerflo_sync.errors import BadRecordError, ContractDriftError, FatalError
from enerflo_sync.resources.installs import INSTALL_LIST

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


def require_some_permission(client: EnerfloClient) -> None:
    """Return if the key may read the statuses or the install list; call this after a 403.

    :raises AuthenticationError: both are refused, too.
    :raises RetriableError: Enerflo does not answer at the moment.
    """
    reads: tuple[Callable[[], object], ...] = (
        lambda: read_status_rows(client),
        lambda: INSTALL_LIST.page(client, 1, 1),
    )
    for read in reads:
        try:
            read()
        except AuthenticationError:
            raise
        except PermissionRefusedError:
            continue
        except (BadRecordError, FatalError, ContractDriftError):
            # Any other answer shows that not everything is refused.
            return
        return
    raise AuthenticationError(
        "Enerflo accepts the API key and refuses everything to it (403).",
        where="GET /api/v3/install-statuses and /api/v3/installs",
        next_step="Give the key's user the permissions in Enerflo, or put another key into ENERFLO_API_KEY,"
        " or its Airflow connection. Nothing was stored, and nothing is lost.",
        status=403,
    )
