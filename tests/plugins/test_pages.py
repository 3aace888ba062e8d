"""The report pages within Airflow's API app: who may see them, what they show, where they lead."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import closing

import pandas as pd
import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from enerflo_airflow.pages import app
from fastapi import FastAPI
from fastapi.testclient import TestClient

from enerflo_sync.addresses import Place
from enerflo_sync.jobs.plan import run_plan
from tests.airflow_fixtures import Setting, warehouse_connection

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


@pytest.fixture(scope="module")
def airflow_app(metadata: None) -> FastAPI:
    return create_app(apps="core")


@pytest.fixture
def anonymous(airflow_app: FastAPI) -> Iterator[TestClient]:
    with closing(TestClient(airflow_app, base_url="http://localhost:8080", follow_redirects=False)) as client:
        yield client


def as_role(client: TestClient, role: str | None) -> TestClient:
    """Return the client signed in as a browser is: by the cookie."""
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="someone", role=role))
    client.cookies.set("_token", token)
    return client


@pytest.fixture
def viewer(anonymous: TestClient) -> TestClient:
    return as_role(anonymous, "VIEWER")


# How pages look is told to everybody who is signed in: the page that refuses one is among them.
STYLE = "/enerflo/style.css"
PATHS = [
    "/enerflo/",
    "/enerflo/accounts",
    STYLE,
    "/enerflo/card",
    "/enerflo/card.js",
    "/enerflo/overview/default",
    "/enerflo/overview/default/backfill",
    "/enerflo/differences/default",
    "/enerflo/record/default/install/1",
    "/enerflo/reports",
    "/enerflo/reports/default",
    "/enerflo/reports/default/latest",
    "/enerflo/reports/default/some-id",
    "/enerflo/reports/default/some-id/download/csv",
    "/enerflo/reports/nowhere",
    "/enerflo/quality/default",
    "/enerflo/inbox/default",
    "/enerflo/inbox/default/some-fingerprint",
    "/enerflo/freshness/default",
    "/enerflo/differences/default/export/csv",
    "/enerflo/plans/default",
    "/enerflo/plans/default/0123456789abcdef",
    "/enerflo/plans/default/0123456789abcdef/download",
    "/enerflo/explain/default/install?key=1",
    "/enerflo/search/default?q=1",
    "/enerflo/run?dag_id=enerflo_reconcile&run_id=manual",
]


# What a form sends something to: of every such route of the app one address.
POSTS = sorted(
    "/enerflo"
    + re.sub(r"\{(\w+)[^}]*\}", lambda part: "default" if part[1] == "account" else "some-id", route.path)
    for route in app.routes
    if "POST" in getattr(route, "methods", ())
)


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_nothing_is_shown(anonymous: TestClient, connected: Setting, path: str) -> None:
    answer = anonymous.get(path)
    assert answer.status_code == 401
    assert "Sign in to Airflow first" in answer.text
    assert "/api/v2/auth/login?next=" in answer.text


@pytest.mark.parametrize("path", [path for path in PATHS if path != STYLE])
def test_a_user_without_access_to_the_dag_is_refused(
    anonymous: TestClient, connected: Setting, path: str
) -> None:
    answer = as_role(anonymous, None).get(path)
    assert answer.status_code == 403
    assert "No access" in answer.text


SETTLING = [path for path in POSTS if path.startswith(("/enerflo/inbox/", "/enerflo/plans/"))]


def token(user: str, account: str = "default") -> str:
    from enerflo_airflow.page_tokens import token_for

    return token_for(user, account)


@pytest.mark.parametrize("path", SETTLING)
@pytest.mark.parametrize(
    ("role", "form", "status", "words"),
    [
        (None, {}, 401, "Sign in to Airflow first"),
        # A token of their own does not make up for the right.
        ("VIEWER", {"token": ("someone", "default")}, 403, "Only who may edit the DAG enerflo_sync"),
        ("ADMIN", {}, 403, "not one of these pages"),
        ("ADMIN", {"token": ("another", "default")}, 403, "not one of these pages"),
        ("ADMIN", {"token": ("someone", "another")}, 403, "not one of these pages"),
    ],
)
def test_nothing_is_settled_without_the_right_and_a_form_of_ones_own(
    anonymous: TestClient,
    connected: Setting,
    path: str,
    role: str | None,
    form: dict[str, tuple[str, str]],
    status: int,
    words: str,
) -> None:
    client = anonymous if role is None else as_role(anonymous, role)
    answer = client.post(path, data={name: token(*of) for name, of in form.items()})
    assert answer.status_code == status
    assert words in answer.text


def test_a_forged_token_is_refused(anonymous: TestClient, connected: Setting) -> None:
    until, _, signature = token("someone").partition(".")
    for forged in (f"{int(until) + 1}.{signature}", f"{until}.{signature[::-1]}", "é", "9" * 500, "."):
        answer = as_role(anonymous, "ADMIN").post(SETTLING[0], data={"token": forged})
        assert (answer.status_code, "not one of these pages" in answer.text) == (403, True)


@pytest.mark.parametrize("path", POSTS)
def test_a_form_acts_for_nobody_who_may_not_edit_the_dag_or_whose_form_is_not_ours(
    anonymous: TestClient, connected: Setting, path: str
) -> None:
    assert anonymous.post(path).status_code == 401
    for role in (None, "VIEWER", "USER", "ADMIN"):
        sent = as_role(anonymous, role).post(path, data={"token": "1.made-up"})
        assert sent.status_code == 403, sent.text


def test_every_page_of_the_app_is_covered_by_the_tests_above() -> None:
    assert POSTS
    for route in app.routes:
        if "GET" in getattr(route, "methods", ()):
            template = re.sub(r"\{[^}]+\}", "[^/?]+", getattr(route, "path", ""))
            assert any(re.fullmatch(f"/enerflo{template}(\\?.*)?", path) for path in PATHS), template


def test_a_report_is_shown_with_its_downloads(viewer: TestClient, reconciled: str) -> None:
    answer = viewer.get(f"/enerflo/reports/default/{reconciled}")
    assert answer.status_code == 200
    assert "unexplained" in answer.text
    assert reconciled in answer.text
    for form in ("csv", "xlsx", "parquet", "json", "html"):
        assert f"/enerflo/reports/default/{reconciled}/download/{form}" in answer.text
    assert viewer.get("/enerflo/reports/default/latest").text == answer.text


def test_a_page_loads_nothing_from_elsewhere_and_stands_in_no_other_frame(
    viewer: TestClient, reconciled: str
) -> None:
    answer = viewer.get(f"/enerflo/reports/default/{reconciled}")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "form-action 'self'" in policy
    assert answer.headers["cache-control"] == "no-store"


def test_how_a_page_looks_is_a_file_that_browsers_keep(viewer: TestClient, reconciled: str) -> None:
    page = viewer.get(f"/enerflo/reports/default/{reconciled}").text
    (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)
    answer = viewer.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert ".banner" in answer.text
    assert "<style>" not in page


def test_the_list_leads_to_each_report(viewer: TestClient, reconciled: str) -> None:
    answer = viewer.get("/enerflo/reports/default")
    assert answer.status_code == 200
    assert f'href="/enerflo/reports/default/{reconciled}"' in answer.text


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet", "json"])
def test_a_download_holds_every_difference(viewer: TestClient, reconciled: str, form: str) -> None:
    expected = viewer.get(f"/enerflo/reports/default/{reconciled}/download/json").json()["differences"]
    answer = viewer.get(f"/enerflo/reports/default/{reconciled}/download/{form}")
    assert answer.status_code == 200
    assert f"reconciliation-default-{reconciled}.{form}" in answer.headers["content-disposition"]
    match form:
        case "csv":
            rows = len(pd.read_csv(io.BytesIO(answer.content)))
        case "parquet":
            rows = len(pd.read_parquet(io.BytesIO(answer.content)))
        case "xlsx":
            sheets = pd.read_excel(io.BytesIO(answer.content), sheet_name=None)
            rows = sum(len(sheet) for name, sheet in sheets.items() if name != "Report")
        case _:
            rows = len(answer.json()["difference_rows"])
    assert rows == expected > 0


def test_before_the_first_reconciliation_the_page_says_what_to_run(
    viewer: TestClient, connected: Setting
) -> None:
    for path in ("/enerflo/reports/default", "/enerflo/reports/default/latest"):
        answer = viewer.get(path)
        assert answer.status_code == 200
        assert "No reconciliation yet" in answer.text
        assert "enerflo_reconcile" in answer.text


def test_an_unknown_report_and_an_unknown_account_are_said_to_be_unknown(
    viewer: TestClient, reconciled: str
) -> None:
    unknown = viewer.get("/enerflo/reports/default/no-such-report")
    assert unknown.status_code == 404
    assert "no-such-report" in unknown.text
    nowhere = viewer.get("/enerflo/reports/nowhere")
    assert nowhere.status_code == 404
    assert "no account nowhere" in nowhere.text


def test_what_is_asked_for_is_shown_as_text(viewer: TestClient, connected: Setting) -> None:
    answer = viewer.get("/enerflo/reports/default/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert answer.status_code in (404, 200)
    assert "<script>alert" not in answer.text


def test_a_warehouse_that_is_not_migrated_is_said_on_the_page(
    viewer: TestClient, connected: Setting, empty_warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(empty_warehouse_url))
    answer = viewer.get("/enerflo/reports/default")
    assert answer.status_code == 503
    assert "enerflo-sync migrate" in answer.text


def test_a_missing_connection_is_said_on_the_page(
    viewer: TestClient, connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE")
    answer = viewer.get("/enerflo/reports/default")
    assert answer.status_code == 503
    assert "enerflo_warehouse" in answer.text


def test_links_follow_a_base_path_of_airflow(airflow_app: FastAPI, reconciled: str) -> None:
    client = TestClient(
        airflow_app, base_url="http://localhost:8080", root_path="/airflow", follow_redirects=False
    )
    with closing(client):
        answer = as_role(client, "VIEWER").get("/airflow/enerflo/reports/default")
    assert answer.status_code == 200
    assert f'href="/airflow/enerflo/reports/default/{reconciled}"' in answer.text


def test_the_test_button_of_the_form_works_through_the_api(anonymous: TestClient, connected: Setting) -> None:
    admin = as_role(anonymous, "ADMIN")
    body = {"connection_id": "typed_in_the_form", "conn_type": "enerflo", "host": connected.sandbox_url}
    right = admin.post("/api/v2/connections/test", json={**body, "password": "sandbox-key"})
    wrong = admin.post("/api/v2/connections/test", json={**body, "password": "another-key"})
    assert right.json() == {"status": True, "message": f"{connected.sandbox_url} accepts the API key."}
    assert wrong.json()["status"] is False
    assert "401" in wrong.json()["message"]


@pytest.fixture
def planned(reconciled: str) -> str:
    """The hash of a plan that was made through Airflow's connections, in report mode."""
    from enerflo_airflow.hook import open_account

    with closing(open_account("default")) as place:
        return run_plan(place)[0].plan_hash


def test_a_plan_is_shown_with_its_samples_and_leads_to_its_records(viewer: TestClient, planned: str) -> None:
    answer = viewer.get(f"/enerflo/plans/default/{planned}")
    assert answer.status_code == 200
    assert "Mode report: this is what would be done" in answer.text
    assert planned in answer.text
    link = re.search(r'href="(/enerflo/record/default/[^"]+)"', answer.text)
    assert link is not None
    told = viewer.get(link[1].replace("&amp;", "&"))
    assert told.status_code == 200
    assert "enerflo-sync explain" in told.text


def test_each_page_leads_to_the_others_by_the_bar(viewer: TestClient, reconciled: str) -> None:
    for path in ("reports/default", f"reports/default/{reconciled}", "differences/default", "plans/default"):
        text = viewer.get(f"/enerflo/{path}").text
        for place in Place:
            assert f'href="/enerflo/{place}/default"' in text
        assert 'action="/enerflo/search/default"' in text


def test_the_address_that_earlier_versions_had_leads_to_the_record(
    viewer: TestClient, connected: Setting
) -> None:
    answer = viewer.get("/enerflo/explain/default/milestone?key=7/5")
    assert (answer.status_code, answer.headers["location"]) == (
        308,
        "/enerflo/record/default/milestone/7%2F5",
    )


def test_the_list_of_plans_leads_to_each(viewer: TestClient, planned: str) -> None:
    answer = viewer.get("/enerflo/plans/default")
    assert f'href="/enerflo/plans/default/{planned}"' in answer.text


def test_a_plan_comes_down_whole_as_json_and_masked(viewer: TestClient, planned: str) -> None:
    document = viewer.get(f"/enerflo/plans/default/{planned}/download").json()
    assert document["plan_hash"] == planned
    assert len(document["changes"]) == document["counts"]["changes"] > 0


@pytest.mark.parametrize("path", ["plans/default/0123456789abcdef", "record/default/install/1"])
def test_what_is_not_there_is_said_to_be_unknown(viewer: TestClient, planned: str, path: str) -> None:
    answer = viewer.get(f"/enerflo/{path}")
    assert answer.status_code == 404
