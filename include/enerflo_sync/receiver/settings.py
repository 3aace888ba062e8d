"""The receiver's settings from its environment, read and validated once at the start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8099
# A JSON body of this size, with its envelope, still fits the inbox's 4 MB (webhooks.max_event_mb).
DEFAULT_MAX_BYTES = 3_900_000
DEFAULT_SECRET_HEADER = "x-webhook-secret"  # noqa: S105 - a header's name
DEFAULT_HMAC_HEADER = "x-hub-signature-256"

DEFAULT_ACCOUNT = "default"
SHORTEST_SECRET = 32
MAKE_A_SECRET = "Make one with: openssl rand -hex 32"  # noqa: S105 - how to make one, not one

_MOST_BYTES = 64 * 1024 * 1024
_PATH_SAFE = re.compile(r"[A-Za-z0-9._~-]+")
_HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Hook:
    """One account that accepts posts.

    :param drop_uri: destination of its payloads: a folder, or any URI of fsspec.
    :param secrets: each one admits a post; two while one replaces the other.
    :param hmac_keys: if not empty, a post must also be signed with one of them.
    """

    account: str
    drop_uri: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    hmac_keys: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ReceiverSettings:
    """Everything that decides whether and how a post is accepted.

    :param left_out: why the posts of an account are not taken, by its name. If it has a secret, it has a hook
        without a drop.
    :param max_bytes: maximum size of a body, both as sent and decompressed.
    :param secret_header: header with the secret for ``POST /hooks/{account}``; lower case.
    :param hmac_header: header with a gateway's signature; lower case.
    """

    hooks: tuple[Hook, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = DEFAULT_MAX_BYTES
    secret_header: str = DEFAULT_SECRET_HEADER
    hmac_header: str = DEFAULT_HMAC_HEADER


def read_settings(
    environ: Mapping[str, str], config: SyncConfig, accounts: Iterable[str] = ()
) -> ReceiverSettings:
    """Return the settings for ``accounts``, or for every account of the configuration.

    Without ``accounts``, what is wrong with one account, or is shared by two, leaves out those alone: their
    posts are refused for now, so that they are sent again.

    :param environ: ``RECEIVER_SECRET`` (account ``default``), ``RECEIVER_SECRET_<ACCOUNT>``, the same two
        with ``RECEIVER_HMAC_KEY``, ``RECEIVER_HEADER_FOR_SECRET``, ``RECEIVER_HEADER_FOR_HMAC``,
        ``RECEIVER_MAX_BYTES`` and ``WEBHOOK_DROP_URI`` (account ``default``). A comma separates a new secret
        from the one that it replaces.
    :raises ConfigurationError: a secret is missing, short or used twice, a drop is missing or shared, or a
        number is invalid. The text never contains a secret.
    """
    hooks, left_out = [_hook(environ, config, name) for name in dict.fromkeys(accounts)], dict[str, str]()
    for error, _ in _shared(hooks):
        raise error
    if not hooks:
        hooks, left_out = _hooks_of_all(environ, config)
    return ReceiverSettings(
        tuple(hooks),
        left_out,
        max_bytes=_max_bytes(environ),
        secret_header=_header_name(environ, "RECEIVER_HEADER_FOR_SECRET", DEFAULT_SECRET_HEADER),
        hmac_header=_header_name(environ, "RECEIVER_HEADER_FOR_HMAC", DEFAULT_HMAC_HEADER),
    )


def _hook(environ: Mapping[str, str], config: SyncConfig, account: str) -> Hook:
    options = config.account(account)
    drop_uri = options.webhook_drop_uri
    if not drop_uri and account == DEFAULT_ACCOUNT:
        drop_uri = environ.get("WEBHOOK_DROP_URI")
    if not drop_uri:
        # If the account's own variable is unset, the configuration's error names it.
        drop_uri = options.need("webhook_drop_uri")
    variable, secrets = _secrets(environ, "RECEIVER_SECRET", account)
    if not secrets:
        raise ConfigurationError(
            f"account {account} has no secret.", where=variable, next_step=f"{MAKE_A_SECRET}, and set it."
        )
    if not all(_PATH_SAFE.fullmatch(secret) for secret in secrets):
        raise ConfigurationError(
            "the secret holds a character that an address may not.",
            where=variable,
            next_step=f"Use letters, digits and . _ ~ - only. {MAKE_A_SECRET}.",
        )
    _, hmac_keys = _secrets(environ, "RECEIVER_HMAC_KEY", account)
    return Hook(account, drop_uri, secrets, hmac_keys)


def _hooks_of_all(environ: Mapping[str, str], config: SyncConfig) -> tuple[list[Hook], dict[str, str]]:
    """Return the hooks of all accounts, and why some of them are left out.

    :raises ConfigurationError: no account is left.
    """
    hooks: list[Hook] = []
    errors: list[tuple[ConfigurationError, Sequence[str]]] = []
    for name in config.accounts:
        try:
            hooks.append(_hook(environ, config, name))
        except ConfigurationError as error:
            errors.append((error, [name]))
    errors += _shared(hooks)
    left_out = {name: str(problems[0]) for name, problems in config.unusable.items()}
    left_out |= {name: str(error) for error, names in errors for name in names}
    open_ = [hook for hook in hooks if hook.account not in left_out]
    if not open_:
        raise errors[0][0]
    return [*open_, *_closed_hooks(environ, left_out)], left_out


def _closed_hooks(environ: Mapping[str, str], accounts: Iterable[str]) -> Iterator[Hook]:
    """Yield a hook without a drop for each account that has a secret: its posts are to be sent again."""
    for account in accounts:
        with suppress(ConfigurationError):
            _, secrets = _secrets(environ, "RECEIVER_SECRET", account)
            if secrets:
                yield Hook(account, "", secrets, _secrets(environ, "RECEIVER_HMAC_KEY", account)[1])


def _secrets(environ: Mapping[str, str], stem: str, account: str) -> tuple[str, tuple[str, ...]]:
    """Return the variable that applies to the account, and the secrets in it."""
    variable = f"{stem}_{account.upper()}"
    if account == DEFAULT_ACCOUNT and not environ.get(variable, "").strip():
        variable = stem
    text = environ.get(variable, "")
    secrets = tuple(filter(None, (part.strip() for part in text.split(","))))
    if text.strip() and not secrets:
        # Commas alone would take posts without the signature that somebody wanted.
        raise ConfigurationError(
            f"account {account} has no secret in it.",
            where=variable,
            next_step=f"{MAKE_A_SECRET}, or remove the variable.",
        )
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        raise ConfigurationError(
            f"a secret of account {account} is shorter than {SHORTEST_SECRET} characters.",
            where=variable,
            next_step=f"{MAKE_A_SECRET}.",
        )
    return variable, secrets


def _shared(hooks: Iterable[Hook]) -> Iterator[tuple[ConfigurationError, Sequence[str]]]:
    """Yield each drop or secret that two accounts have, with both of them: nobody can say whose a post is."""
    owners: dict[str, str] = {}
    for hook in hooks:
        for what, values in (("drop", {hook.drop_uri.rstrip("/")}), ("secret", set(hook.secrets))):
            for value in values:
                other = owners.setdefault(f"{what} {value}", hook.account)
                if other != hook.account:
                    error = ConfigurationError(
                        f"accounts {other} and {hook.account} have the same {what}.",
                        where=f"account {hook.account}",
                        next_step=f"Give each account a {what} of its own.",
                    )
                    yield error, (other, hook.account)


def _max_bytes(environ: Mapping[str, str]) -> int:
    text = environ.get("RECEIVER_MAX_BYTES", "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    # isdecimal also accepts digits of other scripts, as int() does; the length bound keeps int() fast.
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _MOST_BYTES:
        raise ConfigurationError(
            "it is no whole number of bytes.",
            where="RECEIVER_MAX_BYTES",
            next_step=f"Give a number from 1 to {_MOST_BYTES}.",
        )
    return int(text)


def _header_name(environ: Mapping[str, str], variable: str, default: str) -> str:
    name = environ.get(variable, "").strip().lower() or default
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(
            "it is no header name.",
            where=variable,
            next_step=f"Use letters, digits and -, such as {default}.",
        )
    return name
