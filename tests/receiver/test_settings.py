"""What the receiver refuses to start with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.receiver.settings import ReceiverSettings, read_settings
from tests.receiver.conftest import HMAC_KEY, NEXT_SECRET, SECRET, SHIPPED
from tests.receiver.test_access import two_accounts

GOOD = {"RECEIVER_SECRET": SECRET, "WEBHOOK_DROP_URI": "/drop"}


def read(environ: Mapping[str, str], *accounts: str, path: Path = SHIPPED) -> ReceiverSettings:
    return read_settings(environ, load_config(path, environ), accounts)


def test_two_variables_are_enough() -> None:
    settings = read(GOOD)
    (hook,) = settings.hooks
    assert (hook.account, hook.drop_uri, hook.secrets, hook.hmac_keys) == ("default", "/drop", (SECRET,), ())
    assert (settings.max_bytes, settings.secret_header) == (3_900_000, "x-webhook-secret")


def test_an_accounts_own_variable_comes_before_the_general_one() -> None:
    own = {**GOOD, "RECEIVER_SECRET_DEFAULT": NEXT_SECRET, "RECEIVER_HMAC_KEY_DEFAULT": HMAC_KEY}
    (hook,) = read(own).hooks
    assert (hook.secrets, hook.hmac_keys) == ((NEXT_SECRET,), (HMAC_KEY,))


def test_a_blank_variable_of_an_account_takes_no_signature_away() -> None:
    (hook,) = read({**GOOD, "RECEIVER_HMAC_KEY": HMAC_KEY, "RECEIVER_HMAC_KEY_DEFAULT": " "}).hooks
    assert hook.hmac_keys == (HMAC_KEY,)


def test_no_secret_shows_in_a_settings_text() -> None:
    settings = read({**GOOD, "RECEIVER_HMAC_KEY": HMAC_KEY})
    assert SECRET not in repr(settings)
    assert HMAC_KEY not in repr(settings)


@pytest.mark.parametrize(
    ("change", "where", "next_step"),
    [
        ({"RECEIVER_SECRET": ""}, "RECEIVER_SECRET", "openssl rand -hex 32"),
        ({"RECEIVER_SECRET": " , "}, "RECEIVER_SECRET", "openssl rand -hex 32"),
        ({"RECEIVER_SECRET": SECRET[:31]}, "RECEIVER_SECRET", "openssl rand -hex 32"),
        ({"RECEIVER_SECRET": f"{SECRET},{SECRET[:31]}"}, "RECEIVER_SECRET", "openssl rand -hex 32"),
        ({"RECEIVER_SECRET": SECRET + "/?"}, "RECEIVER_SECRET", "letters, digits"),
        ({"RECEIVER_HMAC_KEY": HMAC_KEY[:31]}, "RECEIVER_HMAC_KEY", "openssl rand -hex 32"),
        ({"RECEIVER_HMAC_KEY": " , "}, "RECEIVER_HMAC_KEY", "remove the variable"),
        ({"WEBHOOK_DROP_URI": ""}, "accounts.default.webhook_drop_uri", "webhook_drop_uri"),
        ({"RECEIVER_MAX_BYTES": "4MB"}, "RECEIVER_MAX_BYTES", "from 1 to"),
        ({"RECEIVER_MAX_BYTES": "0"}, "RECEIVER_MAX_BYTES", "from 1 to"),
        ({"RECEIVER_MAX_BYTES": "9" * 30}, "RECEIVER_MAX_BYTES", "from 1 to"),
        ({"RECEIVER_HEADER_FOR_SECRET": "x:y"}, "RECEIVER_HEADER_FOR_SECRET", "x-webhook-secret"),
        ({"RECEIVER_HEADER_FOR_HMAC": "x y"}, "RECEIVER_HEADER_FOR_HMAC", "x-hub-signature-256"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_the_way_out(
    change: dict[str, str], where: str, next_step: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read({**GOOD, **change})
    assert refused.value.where.endswith(where)
    assert next_step in refused.value.next_step
    for value in (SECRET[:31], HMAC_KEY[:31]):
        assert value not in str(refused.value)


def test_each_account_needs_its_own_secret_and_drop(tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(two_accounts(tmp_path))
    east = {"RECEIVER_SECRET_EAST": SECRET}
    # The general secret is the account default's alone, and of accounts that are not named one may lack it.
    with pytest.raises(ConfigurationError, match="RECEIVER_SECRET_WEST_1: account west_1 has no secret"):
        read({**GOOD, **east}, "east", "west_1", path=path)
    assert [hook.account for hook in read(east, "east", path=path).hooks] == ["east"]
    with pytest.raises(ConfigurationError, match="accounts east and west_1 have the same secret"):
        read({**east, "RECEIVER_SECRET_WEST_1": SECRET}, path=path)
    path.write_text(two_accounts(tmp_path).replace(f"file://{tmp_path}/west_1", f"{tmp_path}/east/"))
    with pytest.raises(ConfigurationError, match="accounts east and west_1 have the same drop"):
        read({**east, "RECEIVER_SECRET_WEST_1": NEXT_SECRET}, path=path)
    with pytest.raises(ConfigurationError, match="no account north"):
        read(east, "north", path=path)


def test_what_is_wrong_with_some_accounts_leaves_out_those_alone(tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(two_accounts(tmp_path))
    third = "SECRET-of-a-third-one-0123456789-abcdef"
    (tmp_path / "accounts").mkdir()
    for name in ("north", "twin", "short"):
        drop = tmp_path / ("north" if name == "twin" else name)
        (tmp_path / "accounts" / f"{name}.yaml").write_text(f"webhook_drop_uri: {drop}\n")
    secrets = {"EAST": SECRET, "NORTH": NEXT_SECRET, "TWIN": third, "SHORT": "a-tiny-one"}
    found = read({f"RECEIVER_SECRET_{name}": value for name, value in secrets.items()}, path=path)
    assert [(hook.account, bool(hook.drop_uri)) for hook in found.hooks] == [
        ("east", True),
        ("north", False),
        ("twin", False),
    ]
    assert {name: why.partition(": ")[2].partition(".")[0] for name, why in found.left_out.items()} == {
        "north": "accounts north and twin have the same drop",
        "short": "a secret of account short is shorter than 32 characters",
        "twin": "accounts north and twin have the same drop",
        "west_1": "account west_1 has no secret",
    }
    assert not any(secret in str(found) for secret in secrets.values())
