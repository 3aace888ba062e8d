"""What a page signs, so that a form or a sentence that comes back is known to be its own.

Signed with Airflow's ``[api] secret_key``, which all API servers of a deployment share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import quote

from airflow.sdk import conf

# A form may stay open for a working day; a notice is shown once, and again if the page is loaded again.
_FORM_SECONDS = 12 * 3600
_NOTICE_SECONDS = 600


def token_for(user: str, account: str) -> str:
    """Return what a form must carry for a user to act on an account."""
    until = int(time.time()) + _FORM_SECONDS
    return f"{until}.{_signature('form', user, account, str(until))}"


def token_is_of(token: str, user: str, account: str) -> bool:
    """Return whether a form's token was made for this user and account, and has not expired."""
    until, _, signature = token.partition(".")
    return (
        until.isascii()
        and until.isdigit()
        and len(until) < 16
        and int(until) >= time.time()
        and hmac.compare_digest(signature.encode(), _signature("form", user, account, until).encode())
    )


def notice_of(text: str) -> str:
    """Return a sentence as it may stand in an address."""
    until = str(int(time.time()) + _NOTICE_SECONDS)
    written = base64.urlsafe_b64encode(text.encode()).decode()
    return quote(f"{until}.{_signature('notice', until, text)}.{written}", safe="")


def notice_text(given: str | None) -> str:
    """Return the sentence of an address; none where this app did not write it, or long ago."""
    try:
        until, signature, written = (given or "").split(".")
        text = base64.urlsafe_b64decode(written).decode()
        is_ours = hmac.compare_digest(signature.encode(), _signature("notice", until, text).encode())
        return text if is_ours and int(until) >= time.time() else ""
    except ValueError:
        return ""


def _signature(*parts: str) -> str:
    key = conf.get("api", "secret_key")
    message = "\0".join(parts)
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
