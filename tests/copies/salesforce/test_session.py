"""One request to Salesforce: each answer by itself, the day's requests, the login and the address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from enerflo_sync.copies.salesforce.api import TOGETHER, SalesforceObjectApi
from enerflo_sync.copies.salesforce.login import SalesforceLogin, base_address
from enerflo_sync.copies.salesforce.session import (
    DailyLimitError,
    FailedError,
    NoAnswerError,
    NotTakenError,
    Refusal,
    SalesforceSession,
)
from enerflo_sync.errors import ConfigurationError, RetriableError
from tests.copies.salesforce.fake import CLIENT, PAGE, SECRET, Answer, Company, WaitingClock, refused, serving

DESCRIBE = "/sobjects/Opportunity/describe"


@dataclass
class Line:
    company: Company
    clock: WaitingClock
    url: str

    def session(self, **options: Any) -> SalesforceSession:
        usual: dict[str, Any] = {"client_id": CLIENT, "client_secret": SECRET}
        login = SalesforceLogin(self.url, "here", **(usual | options))
        return SalesforceSession(login, requests.Session(), self.clock)  # type: ignore[arg-type]

    def api(self) -> SalesforceObjectApi:
        found = SalesforceObjectApi(self.session(), "Opportunity")
        found.describe("here")
        return found

    def says(self, *answers: Answer | None) -> None:
        """Let the company answer the next requests so; None: as ever."""
        waiting = list(answers)
        self.company.instead = lambda method, path: waiting.pop(0) if waiting else None


@pytest.fixture
def line() -> Iterator[Line]:
    company = Company()
    with serving(company) as url:
        yield Line(company, WaitingClock(company), url)


@pytest.mark.parametrize(
    ("status", "said", "codes"),
    [
        (200, {"a": 1}, set()),
        (204, None, set()),
        (300, [], set()),
        (400, [{"errorCode": "INVALID_FIELD"}], {"INVALID_FIELD"}),
        (404, [{"errorCode": "NOT_FOUND"}], {"NOT_FOUND"}),
        (412, [], set()),
        (400, [{"errorCode": "A_1"}, {"errorCode": "API_DISABLED_FOR_ORG"}], {"A_1", "API_DISABLED_FOR_ORG"}),
        # What is no code of Salesforce is none.
        (
            400,
            [{"errorCode": "FIELD_X"}, {"errorCode": "a secret"}, {"errorCode": 5}, "x", None],
            {"FIELD_X"},
        ),
    ],
)
def test_what_is_about_a_record_is_its_answer(line: Line, status: int, said: Any, codes: set[str]) -> None:
    line.says((status, said))
    answer = line.session().send("GET", DESCRIBE)
    assert (answer.status, answer.codes) == (status, codes)
    assert answer.at is not None


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (500, [{"errorCode": "UNKNOWN_EXCEPTION"}], FailedError),
        (500, PAGE, NoAnswerError),
        (503, [{"errorCode": "SERVER_UNAVAILABLE"}], NoAnswerError),
        (501, [{"errorCode": "UNKNOWN_EXCEPTION"}], NoAnswerError),
        (429, [], NoAnswerError),
        (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], DailyLimitError),
        (200, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], None),
        (503, [{"errorCode": "API_CURRENTLY_DISABLED"}], NotTakenError),
        (400, [{"errorCode": "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"}], NotTakenError),
        *((400, [{"errorCode": code}], ConfigurationError) for code in ("ORG_LOCKED", "URL_NOT_RESET")),
        (400, PAGE, ConfigurationError),
        (404, [], ConfigurationError),
        (499, [], ConfigurationError),
        *((status, None, ConfigurationError) for status in (301, 302, 399)),
    ],
)
def test_what_is_about_no_record_is_an_error(
    line: Line, status: int, said: Any, error: type[Exception] | None
) -> None:
    line.says((status, said))
    session = line.session()
    if error is None:
        assert session.send("GET", DESCRIBE).refusals == []
        return
    with pytest.raises(error) as caught:
        session.send("GET", DESCRIBE)
    # The nearest class: others are handled otherwise.
    assert type(caught.value) is error
    assert session.requests == 1


def test_a_refusal_names_fields_and_no_values(line: Line) -> None:
    said = {"errorCode": "REQUIRED_FIELD_MISSING", "message": "a secret", "fields": ["Name", "a secret!", 5]}
    line.says((400, [said, {"errorCode": "OTHER"}]))
    found = line.session().send("GET", DESCRIBE).refusals
    assert found == [Refusal("REQUIRED_FIELD_MISSING", ("Name",)), Refusal("OTHER", ())]
    assert [str(one) for one in found] == ["REQUIRED_FIELD_MISSING: Name", "OTHER"]


@pytest.mark.parametrize(
    ("limit", "used", "percent", "sent"),
    [
        *((100, 78, 20, True), (100, 79, 20, False), (100, 98, 0, True), (100, 99, 0, False)),
        *((1_000, 798, 20, True), (1_000, 799, 20, False)),
        # A fifth where nothing is said.
        *((100, 78, None, True), (100, 79, None, False)),
    ],
)
def test_a_share_of_the_days_requests_is_left_to_others(
    line: Line, limit: int, used: int, percent: float | None, sent: bool
) -> None:
    line.company.limit, line.company.used = limit, used
    session = line.session() if percent is None else line.session(keep_free_percent=percent)
    # Nothing is known before the first answer, which says that one more is used.
    assert session.usage is None
    session.send("GET", DESCRIBE)
    assert session.usage == (used + 1, limit)
    if sent:
        session.send("GET", DESCRIBE)
        return
    share = 20 if percent is None else percent
    with pytest.raises(
        DailyLimitError, match=rf"{share} % of the day's requests .* \({used + 1} of [\d,]+ used\)"
    ):
        session.send("GET", DESCRIBE)
    assert session.requests == 1


def test_a_login_shows_no_secret() -> None:
    login = SalesforceLogin("https://a.my.salesforce.com", "here", "the-id", "the-secret", "the-token")
    assert [word for word in ("the-id", "the-secret", "the-token") if word in repr(login)] == []


def test_as_many_records_are_read_together_as_salesforce_takes(line: Line) -> None:
    ids = [line.company.put(Name="A") for _ in range(TOGETHER)]
    assert len(line.api().read(ids, ["Name"])) == TOGETHER
    assert [path for method, path in line.company.calls if method == "POST"] == [
        "/composite/sobjects/Opportunity"
    ]


def test_a_request_that_changes_nothing_is_tried_four_times(line: Line) -> None:
    line.says((503, None), (503, None), (503, None), None)
    session = line.session()
    assert session.read("GET", DESCRIBE).status == 200
    assert (session.requests, line.clock.waited) == (4, 15.0)
    line.says(*[(503, None)] * 4, None)
    with pytest.raises(NoAnswerError):
        session.read("GET", DESCRIBE)
    # What Salesforce refuses is not asked again.
    line.says((403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}]), None)
    with pytest.raises(DailyLimitError):
        session.read("GET", DESCRIBE)
    assert session.requests == 9


def test_a_token_is_asked_for_once_and_again_when_it_ended(line: Line) -> None:
    session = line.session()
    session.send("GET", DESCRIBE)
    session.send("GET", DESCRIBE)
    assert line.company.logins == 1
    line.company.expired = 1
    assert session.send("GET", DESCRIBE).status == 200
    assert line.company.logins == 2
    line.company.expired = 2
    with pytest.raises(ConfigurationError, match=r"does not accept the token \(INVALID_SESSION_ID\)"):
        session.send("GET", DESCRIBE)
    assert line.company.logins == 3


@pytest.mark.parametrize(
    "given", [{"client_id": ""}, {"client_secret": ""}, {"client_id": "", "client_secret": ""}]
)
def test_without_a_login_or_a_token_nothing_is_sent(line: Line, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="there is no login"):
        line.session(**given).send("GET", DESCRIBE)
    assert line.company.calls == []
    session = line.session(**given, token="given")
    assert session.send("GET", DESCRIBE).status == 200
    assert line.company.logins == 0
    # Nothing renews it.
    line.company.expired = 1
    with pytest.raises(ConfigurationError, match="does not accept the token"):
        session.send("GET", DESCRIBE)
    assert line.company.logins == 0


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, {"access_token": "t"}), None, ""),
        ((201, {"access_token": "t"}), ConfigurationError, r"\(201\)"),
        ((200, {"access_token": "t\u00e9"}), ConfigurationError, r"\(200\)"),
        ((200, {"access_token": 5}), ConfigurationError, r"\(200\)"),
        ((200, ["t"]), ConfigurationError, r"\(200\)"),
        ((400, {"error": "invalid_client"}), ConfigurationError, r"\(invalid_client\)"),
        ((400, {"error": "a secret, perhaps"}), ConfigurationError, r"\(400\)"),
        ((499, None), ConfigurationError, r"\(499\)"),
        ((429, None), NoAnswerError, "answers 429 to the login"),
        ((500, None), NoAnswerError, "answers 500 to the login"),
    ],
)
def test_what_a_login_may_be_answered(
    line: Line, monkeypatch: pytest.MonkeyPatch, answer: Answer, error: type[Exception] | None, words: str
) -> None:
    monkeypatch.setattr(line.company, "log_in", lambda form: answer)
    line.company._token = "t"
    if error is None:
        assert line.session().send("GET", DESCRIBE).status == 200
        return
    with pytest.raises(error, match=words):
        line.session().send("GET", DESCRIBE)


@pytest.mark.parametrize(
    ("address", "made"),
    [
        (" https://a.my.salesforce.com/ ", "https://a.my.salesforce.com"),
        ("https://a.my.salesforce.com:8443", "https://a.my.salesforce.com:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("http://localhost", "http://localhost"),
        *(
            (wrong, None)
            for wrong in (
                *("", "a.my.salesforce.com", "ftp://a.my.salesforce.com", "https://", "https:///x"),
                *("https://a.my.salesforce.com/x", "https://a.my.salesforce.com?x=1"),
                *("https://a.my.salesforce.com#x", "https://u:p@a.my.salesforce.com", "https://a:port"),
                *("https://[", "http://a.my.salesforce.com", "http://10.0.0.1", "http://localhost.a.com"),
            )
        ),
    ],
)
def test_an_address_is_a_company_s_and_encrypted(address: str, made: str | None) -> None:
    if made is not None:
        assert base_address(address, "here") == made
        return
    with pytest.raises(ConfigurationError):
        base_address(address, "here")


# The requests about records.


def described(line: Line, **changes: dict[str, Any]) -> dict[str, Any]:
    """Return the object's description with changes of fields."""
    said = line.company.describe()
    for field in said["fields"]:
        field |= changes.get(field["name"], {})
    return said


def test_what_salesforce_says_of_fields(line: Line) -> None:
    needed = {"nillable": False}
    line.says(
        (
            200,
            described(
                line,
                Name={**needed},
                StageName={**needed, "defaultedOnCreate": True},
                Amount={**needed, "createable": False},
                System_Size__c={"nillable": True},
                Enerflo_Install_Id__c={"unique": True},
                RecordTypeName={"unique": True, "externalId": False},
                IsDeleted={"unique": False, "externalId": True},
            ),
        )
    )
    info = SalesforceObjectApi(line.session(), "Opportunity").describe("here")
    assert (info.updateable, info.createable, info.deletable) == (True, True, True)
    assert [name for name, one in info.fields.items() if one.required] == ["Name"]
    assert [name for name, one in info.fields.items() if one.finds_one] == ["Enerflo_Install_Id__c"]
    assert (info.fields["Amount"].createable, info.fields["Amount"].updateable) == (False, True)
    line.says((200, {"fields": described(line)["fields"], "updateable": True}))
    info = SalesforceObjectApi(line.session(), "Opportunity").describe("here")
    assert (info.updateable, info.createable, info.deletable) == (True, False, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused(404, "NOT_FOUND"), "has no object Opportunity"),
        (refused(400, "INVALID_TYPE", "Id"), r"does not take a read of Opportunity \(INVALID_TYPE: Id\)"),
        ((200, []), r"does not take a read of Opportunity \(200\)"),
        ((201, {"fields": []}), r"does not take a read of Opportunity \(201\)"),
        ((200, {"fields": []}), "does not say when a record was last modified"),
    ],
)
def test_an_object_that_cannot_be_described(line: Line, answer: Answer, words: str) -> None:
    line.says(answer)
    with pytest.raises(ConfigurationError, match=words):
        SalesforceObjectApi(line.session(), "Opportunity").describe("here")


def test_records_are_read_in_the_order_of_their_ids_with_the_later_of_two_times(line: Line) -> None:
    first, second = line.company.put(Name="A"), line.company.put(Name="B")
    line.company.records[second]["SystemModstamp"] = "2021-01-01T00:00:00.000+0000"
    gone = f"006{9:012d}AAQ"
    found = line.api().read([second[:15], gone, first], ["Name"])
    assert [one and one.values["Name"] for one in found] == ["B", None, "A"]
    assert [one and one.modified.year for one in found] == [2021, None, 2020]
    assert found[0] is not None
    assert found[0].read_at is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said[:1], "returned 1 records for 2 ids"),
        (lambda said: said[::-1], "about other records than those asked for"),
        (lambda said: [{**said[0], "Id": None}, said[1]], "about other records"),
        (lambda said: ["x", said[1]], "about other records"),
        (lambda said: [{k: v for k, v in said[0].items() if k != "Name"}, said[1]], "Name"),
        (lambda said: [{**said[0], "SystemModstamp": None}, said[1]], "SystemModstamp"),
        (lambda said: [{**said[0], "LastModifiedDate": 5}, said[1]], "LastModifiedDate"),
    ],
)
def test_an_answer_that_is_not_about_the_records_is_none(
    line: Line, monkeypatch: pytest.MonkeyPatch, change: Any, words: str
) -> None:
    ids = [line.company.put(Name="A"), line.company.put(Name="B")]
    api, retrieve = line.api(), line.company.retrieve
    assert len(api.read(ids, ["Name"])) == 2
    monkeypatch.setattr(line.company, "retrieve", lambda body: (200, change(retrieve(body)[1])))
    with pytest.raises(RetriableError, match=words):
        api.read(ids, ["Name"])


def test_a_record_is_found_by_its_external_id_alone(line: Line) -> None:
    key = "a/b ?&=%,"
    id_ = line.company.put(Enerflo_Install_Id__c=key, Name="A")
    api = line.api()
    found = api.find("Enerflo_Install_Id__c", key, ["Name"])
    assert found is not None
    assert (found.id, found.values["Name"]) == (id_, "A")
    assert api.find("Enerflo_Install_Id__c", "other", ["Name"]) is None
    line.says(refused(400, "INVALID_FIELD"))
    with pytest.raises(ConfigurationError, match="INVALID_FIELD"):
        api.find("Enerflo_Install_Id__c", key, ["Name"])


def test_texts_that_are_alike_are_told_unless_there_may_be_more(line: Line) -> None:
    for number in range(199):
        line.company.put(Enerflo_Install_Id__c=f"00{number:04d}")
    line.company.put(Enerflo_Install_Id__c=r"odd '\%_ one")
    api = line.api()
    assert api.alike("Enerflo_Install_Id__c", r"'\%_") == [r"odd '\%_ one"]
    assert len(api.alike("Enerflo_Install_Id__c", "00") or ()) == 199
    line.company.put(Enerflo_Install_Id__c="00 again")
    assert api.alike("Enerflo_Install_Id__c", "00") is None
    assert api.alike("Enerflo_Install_Id__c", "none") == []
    for said in (
        {"done": False, "records": []},
        {"done": True},
        {"records": []},
        {"done": True, "records": {}},
    ):
        line.says((200, said))
        assert api.alike("Enerflo_Install_Id__c", "none") is None


@pytest.mark.parametrize(
    ("write", "fine"),
    [
        (lambda api, record: api.update(record, {"Name": "B"}), (204, None)),
        (lambda api, record: api.create({"Name": "B"}), (201, {"success": True})),
        (lambda api, record: api.delete(record), (204, None)),
    ],
)
def test_only_what_salesforce_says_of_a_write_is_its_answer(line: Line, write: Any, fine: Answer) -> None:
    api = line.api()
    (record,) = api.read([line.company.put(Name="A")], ["Name"])
    for status, said in (fine, (300, []), refused(400, "X_1"), (412, [])):
        line.says((status, said))
        assert write(api, record).status == status
    others = [(200, {"success": True}), (202, None), (200, PAGE)]
    others += [(201, said) for said in ({"success": False}, {"success": "true"}, {}, [], None)]
    others += [(201, {"success": True})] if fine[0] == 204 else [(204, None)]
    for answer in others:
        line.says(answer)
        with pytest.raises(NoAnswerError, match=f"answers {answer[0]} where"):
            write(api, record)


def test_a_write_is_sent_on_the_condition_of_the_second_that_was_read(line: Line) -> None:
    id_ = line.company.put(Name="A", LastModifiedDate="2026-01-01T10:00:00.750+0000")
    api = line.api()
    (record,) = api.read([id_], ["Name"])
    assert record is not None
    line.says((204, None))
    seen: list[dict[str, str]] = []
    handle = line.company.handle

    def noting(method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        seen.append(headers)
        return handle(method, url, headers, body)

    line.company.handle = noting  # type: ignore[method-assign]
    api.update(record, {"Name": "B"})
    assert seen[0]["If-Unmodified-Since"] == "Thu, 01 Jan 2026 10:00:00 GMT"
    assert seen[0]["Sforce-Auto-Assign"] == "FALSE"
