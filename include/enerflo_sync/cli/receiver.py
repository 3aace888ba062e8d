"""``enerflo-sync receiver``: accept webhook posts and store them in the drop."""

from __future__ import annotations

import logging
import os
import random
import sys
from typing import Annotated

import typer

from enerflo_sync.cli.output import Json, errors, print_json
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.extras import needs_extra
from enerflo_sync.receiver.drops import open_drops
from enerflo_sync.receiver.settings import DEFAULT_HOST, DEFAULT_PORT, read_settings
from enerflo_sync.shipped import find_config

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Take webhook posts and drop them to storage, where enerflo_webhooks finds them.",
)


@app.callback()
def receiver() -> None:
    """Accept webhook posts and store them in the drop, where enerflo_webhooks finds them."""


@app.command("serve")
def command(
    host: Annotated[
        str, typer.Option(envvar="RECEIVER_HOST", help="Address to listen on; 0.0.0.0 in a container.")
    ] = DEFAULT_HOST,
    port: Annotated[
        int, typer.Option(envvar="RECEIVER_PORT", min=0, max=65_535, help="Port; 0 takes a free one.")
    ] = DEFAULT_PORT,
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account", metavar="NAME", help="Serve only this account of sync.yaml; repeat for more."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve POST /hooks/ACCOUNT/SECRET until interrupted, and store each post as one file in the drop.

    Set RECEIVER_SECRET (account default) or RECEIVER_SECRET_ACCOUNT to at least 32 characters, made with
    openssl rand -hex 32, and WEBHOOK_DROP_URI or the account's webhook_drop_uri to a folder or bucket. Then
    point Enerflo's webhooks at https://YOUR-HOST/hooks/default/SECRET. A sender that can set headers may post
    to /hooks/ACCOUNT with the secret in x-webhook-secret instead.

    The answer is 200 once the file is durable, and 503 if it could not be stored. GET /health and GET
    /metrics are for monitoring. docs/receiver.md describes the proxy, signatures and the change of a secret.
    """
    with needs_extra("receiver", "the web server of the receiver", "enerflo-sync receiver"):
        from enerflo_sync.receiver.app import make_app
        from enerflo_sync.receiver.server import listen, serve, url_of
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("enerflo_sync.receiver").setLevel(logging.INFO)
    config = load_config(find_config(os.environ), os.environ)
    settings = read_settings(os.environ, config, account or ())
    drops, late = open_drops(settings.hooks, all_of_them=bool(account))
    for name, why in settings.left_out.items():
        errors.print(f"enerflo-sync: posts of account {name} are not stored: {why}", markup=False)
    for name, error in late.items():
        errors.print(
            f"enerflo-sync: posts of account {name} are not stored before its drop can be opened: {error}",
            markup=False,
        )
    service = make_app(settings, drops, SystemClock(), random.SystemRandom())
    with listen(host, port) as listener:
        names = sorted(drops.keys() - settings.left_out.keys())
        if as_json:
            print_json({"url": url_of(listener), "pid": os.getpid(), "accounts": names})
            sys.stdout.flush()
        else:
            errors.print(f"Receiver for {', '.join(names)} listens at {url_of(listener)}", markup=False)
        serve(service, listener)
