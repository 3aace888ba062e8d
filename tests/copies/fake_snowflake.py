# /// script
# requires-python = ">=3.11"
# dependencies = ["fakesnow[server]>=0.12,<0.13", "snowflake-connector-python<5", "sqlglot[c]"]
# ///
"""Serve fakesnow, a Snowflake made of DuckDB, on the port that is named: the tests' driver talks to it over HTTP.

It runs beside the tests with packages of its own (``fake_snowflake.py.lock``): fakesnow needs another version of
Snowflake's driver than SQLAlchemy 2.1 does. What fakesnow lacks and Snowflake has is added here.
"""

from __future__ import annotations

import json
import sys

import fakesnow.server
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

LOGIN = "/session/v1/login-request"
_whole_login = fakesnow.server.login_request


async def login(request: Request) -> JSONResponse:
    """Answer as Snowflake does: with a master token, a session with settings, and md5_number_lower64."""
    answer = await _whole_login(request)
    body = json.loads(bytes(answer.body))
    token = body["data"]["token"]
    session = fakesnow.server.sessions[token]
    # Its session is in UTC, and its casts to text are of one form.
    session.nop_regexes = [r"\s*alter session set timezone"]
    session._duck_conn.execute("create or replace temp macro m_d5_number_lower64(x) as md5_number_lower(x)")
    body["data"] |= {"masterToken": token, "validityInSeconds": 3600, "masterValidityInSeconds": 14400}
    body["data"]["sessionId"] = 1
    return JSONResponse(body)


routes = [route for route in fakesnow.server.routes if getattr(route, "path", None) != LOGIN]
app = Starlette(routes=[Route(LOGIN, login, methods=["POST"]), *routes])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
