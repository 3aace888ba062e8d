"""What steers a terminal is shown and never sent, in text, in JSON and in logs."""

from __future__ import annotations

import json
import logging
from io import BytesIO, StringIO

import pytest
from rich.text import Text

from enerflo_sync.cli.output import ShowingConsole, ShowingFormatter, print_json
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.render import render_message
from enerflo_sync.steering import ShowingStream

HOSTILE = "Ada\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u2066\x9b31m\r\x00"


def clean(text: str) -> bool:
    return not any(sign in text for sign in "\x1b\x07\u202e\u2066\x9b\r\x00")


def test_a_console_sends_no_control_character_of_a_value() -> None:
    out = StringIO()
    ShowingConsole(file=out, highlight=False, soft_wrap=True).print(f"name: {HOSTILE}\nnext", markup=False)
    assert clean(out.getvalue())
    assert "Ada\\u001b[2J" in out.getvalue()
    assert out.getvalue().count("\n") == 2


def test_json_says_the_very_value_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HOSTILE})
    text = capsys.readouterr().out
    assert clean(text)
    assert json.loads(text) == {"name": HOSTILE}


def test_a_log_line_shows_them_too() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "name %s", (HOSTILE,), None)
    assert clean(ShowingFormatter("%(message)s").format(record))


def test_an_error_that_quotes_a_name_steers_nothing_wherever_it_is_printed() -> None:
    assert clean(str(ConfigurationError(f"no status {HOSTILE}", where=HOSTILE, next_step=HOSTILE)))


def test_pages_and_styled_lines_show_them() -> None:
    assert clean(render_message(HOSTILE, HOSTILE, command=HOSTILE))
    out = StringIO()
    ShowingConsole(file=out, highlight=False).print(Text(f"a {HOSTILE}", style="bold"))
    assert clean(out.getvalue())


def test_a_stream_shows_them_also_where_a_character_is_cut_in_two() -> None:
    out = BytesIO()
    stream = ShowingStream(out)
    for byte in HOSTILE.encode():
        stream.write(bytes([byte]))
    assert clean(out.getvalue().decode())
    assert out.getvalue().decode().startswith("Ada\\u001b[2J")
