import base64
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_home import package_folder, publish, register, remove, tracking_uri

from serving.api.app import Settings, create_app

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated"),
]

SECRET = "s3cr3t-in-the-body"
JSON, CSV = {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}


def opened(home, registry=None, raise_server_exceptions=True, **limits):
    from fastapi.testclient import TestClient

    app = create_app(Settings(home / "published", tracking_uri(registry or home), **limits))
    return TestClient(app, raise_server_exceptions=raise_server_exceptions)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def pins(home):
    return {"demand_forecast": register(home), "stock_anomalies": register(home, "stock_anomalies", factor=3.0)}


@pytest.fixture(scope="module")
def client(home, pins):
    publish(home, "g1", pins)
    with opened(home, max_body_bytes=100_000) as client:
        yield client


@pytest.fixture
def own(tmp_path, home):
    """A published folder of the test's own, empty at first, beside the registry of all."""
    with opened(tmp_path, home) as client:
        yield tmp_path, client


def follow(client, address, **parameters):
    """All rows of a table, page by page."""
    rows = []
    for _ in range(100):
        answer = client.get(address, params=parameters).json()
        rows += answer["rows"]
        if answer["next_cursor"] is None:
            return rows
        parameters["cursor"] = answer["next_cursor"]
    pytest.fail("the pages have no end")


# State


def wait_for_preloading():
    while "preload" in {thread.name for thread in threading.enumerate()}:
        time.sleep(0.01)


def test_a_preloaded_model_is_there_before_it_is_asked(client, home):
    with opened(home, preloaded=("demand_forecast", "weather")) as client:
        wait_for_preloading()
        models = client.get("/health").json()["models"]
    assert {name: model["is_loaded"] for name, model in models.items()} == {
        "demand_forecast": True,
        "stock_anomalies": False,
    }


def test_a_server_starts_before_the_first_publication(tmp_path, home, caplog):
    with opened(tmp_path, home, preloaded=("demand_forecast",)) as client:
        assert client.get("/ping").status_code == 200
        wait_for_preloading()
    assert "demand_forecast is not loaded yet: nothing is published" in caplog.text


def test_an_unpublished_home_answers_503_with_the_remedy_and_still_pings(own):
    _, client = own
    for address in ("/health", "/v1/stock", "/v1/forecasts", "/v1/recommendations", "/v1/transfers", "/v1/anomalies"):
        answer = client.get(address)
        assert (answer.status_code, "inventorybot run" in answer.json()["message"]) == (503, True)
    assert client.post("/invocations", content=b"{}", headers=JSON).status_code == 503
    assert client.get("/ping").status_code == 200
    assert client.get("/version").json()["generation"] is None


def test_health_and_version_name_generation_and_pinned_models(client, pins):
    assert client.get("/health").json()["as_of"] == "2011-10-31"
    version = client.get("/version").json()
    assert (version["generation"], version["code_version"]) == ("g1", "0.1.0")
    assert version["models"] == {name: pin["version"] for name, pin in pins.items()}


# Past days


def test_a_past_day_is_served_beside_the_current_one_and_says_so(own):
    home, client = own
    publish(home, "g1", skus=5)
    publish(home, "old", skus=2, beside="2011-10-01")
    answer = client.get("/v1/stock", params={"as_of": "2011-10-01", "limit": 3})
    first = answer.json()
    assert (first["generation"], first["as_of"], first["knowledge"]) == (
        "old",
        "2011-10-01",
        "with what is known today",
    )
    assert answer.headers["x-inventorybot-as-of"] == "2011-10-01"
    # Its pages stay with it, however the next one is asked for.
    second = client.get(re.search("<(.*)>", answer.headers["link"])[1]).json()
    assert (second["generation"], len(first["rows"]) + len(second["rows"]), second["next_cursor"]) == ("old", 4, None)
    assert client.get("/v1/stock", params={"cursor": first["next_cursor"]}).status_code == 400
    assert len(follow(client, "/v1/forecasts", as_of="2011-10-01")) == 2 * 2 * 7
    for parameters in ({}, {"as_of": "2011-10-31"}, {"as_of": ""}):
        current = client.get("/v1/stock", params=parameters).json()
        assert (current["generation"], current["as_of"], current["knowledge"]) == ("g1", "2011-10-31", None)


def test_a_day_that_is_not_published_is_answered_with_the_days_that_are(own):
    home, client = own
    publish(home, "g1")
    publish(home, "old", beside="2011-10-01")
    publish(home, "older", beside="2011-09-30")
    answer = client.get("/v1/recommendations", params={"as_of": "2011-10-02"})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert answer.json()["message"].startswith(
        "nothing is published of 2011-10-02; there are 2011-10-31 (current), 2011-10-01, 2011-09-30. "
        "`inventorybot run --as-of 2011-10-02` "
    )
    assert client.get("/v1/recommendations", params={"as_of": "../g1"}).status_code == 400
    listed = client.get("/v1/generations").json()["generations"]
    assert [(each["as_of"], each["generation"], each["is_current"]) for each in listed] == [
        *(("2011-10-31", "g1", True), ("2011-10-01", "old", False), ("2011-09-30", "older", False)),
    ]


def test_a_new_look_at_a_day_is_followed_and_the_cursor_of_the_one_before_is_gone(own):
    home, client = own
    publish(home, "g1")
    before = publish(home, "old", skus=2, beside="2011-10-01")
    first = client.get("/v1/stock", params={"as_of": "2011-10-01", "limit": 1}).json()
    publish(home, "new", skus=3, beside="2011-10-01")
    remove(before)
    assert client.get("/v1/stock", params={"as_of": "2011-10-01"}).json()["generation"] == "new"
    gone = client.get("/v1/stock", params={"as_of": "2011-10-01", "limit": 1, "cursor": first["next_cursor"]})
    assert gone.status_code == 410


# Tables


def test_stock_comes_by_key_with_exact_numbers(client):
    answer = client.get("/v1/stock", params={"sku": "sku1"})
    assert answer.json() == {
        "generation": "g1",
        "as_of": "2011-10-31",
        "knowledge": None,
        "rows": [
            {
                "sku": "sku1",
                "location_id": location,
                "as_of_date": "2011-10-31",
                "on_hand_units": 1.5,
                "last_counted_date": None,
            }
            for location in ("north", "south")
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    ("address", "count"),
    [("stock", 10), ("forecasts", 70), ("recommendations", 4), ("transfers", 3), ("anomalies", 3)],
)
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_of_any_size_give_every_row_once_in_order(client, address, count, limit):
    whole = client.get(f"/v1/{address}").json()["rows"]
    assert (len(whole), follow(client, f"/v1/{address}", limit=limit)) == (count, whole)


def test_transfers_are_chosen_by_both_ends_and_state(client):
    def ids(**asked):
        return [row["proposal_id"] for row in client.get("/v1/transfers", params=asked).json()["rows"]]

    assert ids(from_location_id="south") == [None, "t2"]
    assert ids(to_location_id="south") == ["t1"]
    assert ids(state="proposed", from_location_id=["north", "south"]) == ["t1", None]
    assert client.get("/v1/transfers", params={"location_id": "south"}).status_code == 400


def test_filters_choose_rows(client):
    rows = client.get("/v1/forecasts", params={"sku": ["sku1", "sku2"], "location_id": "north", "to_day": "2011-11-02"})
    assert [(row["sku"], row["day"]) for row in rows.json()["rows"]] == [
        ("sku1", "2011-11-01"),
        ("sku1", "2011-11-02"),
        ("sku2", "2011-11-01"),
        ("sku2", "2011-11-02"),
    ]
    orders = client.get("/v1/recommendations", params={"supplier_id": "acme", "status": "order"}).json()["rows"]
    assert [(row["sku"], row["order_units"]) for row in orders] == [("sku0", 48.0)]
    scored = client.get("/v1/anomalies", params={"min_score": 0.5, "from_day": "2011-10-02"}).json()["rows"]
    assert {row["kind"] for row in scored} == {"lost movement", "none"}


def test_a_field_left_empty_filters_nothing(client):
    assert len(client.get("/v1/stock?sku=&limit=&cursor=&format=").json()["rows"]) == 10


def test_a_score_that_is_not_a_number_is_null_or_empty(client):
    asked = {"sku": "sku1"}
    assert client.get("/v1/anomalies", params=asked).json()["rows"][0]["anomaly_score"] is None
    assert "sku1,south,2011-10-03,,none" in client.get("/v1/anomalies", params={**asked, "format": "csv"}).text


@pytest.mark.parametrize(
    "asked",
    [
        {"params": {"format": "csv"}},
        {"headers": {"Accept": "text/csv"}},
        {"headers": {"Accept": "application/json;q=0.5, text/csv"}},
    ],
)
def test_csv_carries_decimals_as_they_are_and_quotes(client, asked):
    answer = client.get("/v1/recommendations", **asked)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["order_units"] for row in rows] == ["48.000", "0.000", "0.000", "6.000"]
    assert (rows[3]["reason"], rows[1]["supplier_id"]) == ('Order 6 "now"', "")


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html, text/csv;q=0", "application/json, text/csv;q=0.9", "text/csv;q=x", ";;,"]
)
def test_json_is_the_answer_unless_csv_is_preferred(client, accept):
    assert client.get("/v1/stock", headers={"Accept": accept}).headers["content-type"] == "application/json"


def test_a_csv_page_links_to_the_next(client):
    first = client.get("/v1/stock", params={"format": "csv", "limit": 6})
    following = re.fullmatch(r'<(/v1/stock\?[^>]+)>; rel="next"', first.headers["link"]).group(1)
    second = client.get(following)
    assert len(first.text.splitlines()) + len(second.text.splitlines()) == 2 + 10
    assert "link" not in second.headers


def test_a_page_is_never_larger_than_the_server_allows(own):
    folder, _ = own
    publish(folder, "g1")
    with opened(folder, max_page_rows=4) as client:
        assert len(client.get("/v1/stock", params={"limit": 999_999}).json()["rows"]) == 4


def test_a_cursor_continues_in_its_generation_after_a_newer_one(own):
    folder, client = own
    publish(folder, "g1", skus=3)
    first = client.get("/v1/stock", params={"limit": 4}).json()
    publish(folder, "g2", skus=9)
    second = client.get("/v1/stock", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert (second["generation"], len(second["rows"]), second["next_cursor"]) == ("g1", 2, None)
    assert client.get("/v1/stock").json()["generation"] == "g2"


def test_a_cursor_of_a_removed_generation_is_gone_with_the_remedy(own):
    folder, client = own
    file = publish(folder, "g1")
    cursor = client.get("/v1/stock", params={"limit": 4}).json()["next_cursor"]
    publish(folder, "g2")
    remove(file)
    answer = client.get("/v1/stock", params={"limit": 4, "cursor": cursor})
    assert (answer.status_code, "without cursor" in answer.json()["message"]) == (410, True)


def test_a_cursor_belongs_to_its_table_and_filters(client):
    cursor = client.get("/v1/stock", params={"limit": 1, "location_id": "north"}).json()["next_cursor"]
    for address, filters in [
        ("/v1/stock", {}),
        ("/v1/anomalies", {"location_id": "north"}),
        ("/v1/stock", {"location_id": "south"}),
    ]:
        answer = client.get(address, params={**filters, "cursor": cursor})
        assert (answer.status_code, "another table or other filters" in answer.json()["message"]) == (400, True)


def test_a_cursor_cannot_name_a_file_elsewhere(client):
    cursor = client.get("/v1/stock", params={"limit": 1}).json()["next_cursor"]
    _, *rest = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(["../../g1", *rest]).encode()).decode()
    assert client.get("/v1/stock", params={"cursor": forged}).status_code == 410


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "from_day=yesterday",
        "colour=red",
        "format=xml",
        "min_score=nan",
        "min_score=2",
        "cursor=%00",
        "cursor=abc",
        "cursor=W10",
        "cursor=W251bGxd",
        "sku=" + "x" * 300,
    ],
)
def test_a_parameter_that_is_not_understood_is_400_with_its_name(client, query):
    answer = client.get(f"/v1/anomalies?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["message"]


@given(st.text(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_text_in_a_cursor_or_filter_breaks_the_endpoint(client, text):
    text = text.encode("utf-8", "replace").decode()
    assert client.get("/v1/stock", params={"cursor": text}).status_code in (200, 400, 410)
    assert client.get("/v1/stock", params={"sku": text}).status_code == 200


@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.integers()), max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_forged_cursor_breaks_the_endpoint(client, parts):
    cursor = client.get("/v1/anomalies", params={"limit": 1}).json()["next_cursor"]
    generation, question, *_ = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([generation, question, *parts]).encode()).decode()
    assert client.get("/v1/anomalies", params={"cursor": forged}).status_code in (200, 400, 410)


# Models

ROW = {"sku": "A", "demand_units": 3}
FORMS = {
    "dataframe_records": [ROW],
    "instances": [ROW],
    "inputs": {"sku": ["A"], "demand_units": [3]},
    "dataframe_split": {"columns": ["demand_units", "sku"], "data": [[3, "A"]]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_protocol_gives_the_same_answer(client, form):
    answer = client.post("/invocations", json={form: FORMS[form]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [{"sku": "A", "mean_units": 6.0}]})


def test_csv_with_a_gap_and_a_date_is_understood(client):
    body = 'sku,period_start,demand_units\n"A,""1""",2011-11-07,\nB,2011-11-08,1.5\n'
    answer = client.post("/invocations", content=body, headers=CSV).json()["predictions"]
    assert [(row["sku"], row["mean_units"]) for row in answer] == [('A,"1"', None), ("B", 3.0)]
    assert answer[1]["period_start"].startswith("2011-11-08T00:00:00")


def test_params_and_the_model_in_the_path_decide_who_answers_how(client, pins):
    answer = client.post("/models/stock_anomalies/invocations", json={"instances": [ROW], "params": {"scale": 10}})
    assert answer.json() == {"predictions": [{"sku": "A", "mean_units": 90.0}]}
    assert answer.headers["x-inventorybot-model"] == f"stock_anomalies/{pins['stock_anomalies']['version']}"


def test_columns_the_model_does_not_declare_are_ignored_and_counted(client):
    answer = client.post("/invocations", json={"instances": [{**ROW, "x": 1, "y": [2]}]})
    assert (answer.status_code, answer.headers["x-inventorybot-ignored-columns"]) == (200, "2")


def test_a_model_that_is_not_pinned_is_404_and_names_those_that_are(client):
    answer = client.post("/models/weather/invocations", json={"instances": [ROW]})
    assert (answer.status_code, "demand_forecast, stock_anomalies" in answer.json()["message"]) == (404, True)


def test_a_publication_with_another_model_version_is_followed_without_restart(own, home):
    folder, client = own
    publish(folder, "g1", {"demand_forecast": register(home, factor=2.0)})
    assert client.post("/invocations", json={"instances": [ROW]}).json()["predictions"][0]["mean_units"] == 6.0
    publish(folder, "g2", {"demand_forecast": register(home, factor=4.0)})
    assert client.post("/invocations", json={"instances": [ROW]}).json()["predictions"][0]["mean_units"] == 12.0


def test_a_model_whose_folder_was_changed_is_503_and_tables_stay(own, home):
    folder, client = own
    pin = register(home)
    publish(folder, "g1", {"demand_forecast": pin})
    (package_folder(home, pin) / "artifacts" / "saved" / "model.json").write_text('{"factor": 9}')
    answer = client.post("/invocations", json={"instances": [ROW]})
    assert (answer.status_code, "restore the MLflow folder" in answer.json()["message"]) == (503, True)
    assert client.get("/v1/stock").status_code == 200


def as_bytes(content):
    return content if isinstance(content, bytes) else json.dumps(content).encode()


MALFORMED = {
    "empty": b"",
    "not JSON": f'{{"{SECRET}'.encode(),
    "not UTF-8": b'{"instances": [{"sku": "\xff"}]}',
    "UTF-16": '{"instances": []}'.encode("utf-16"),
    "a list": [SECRET],
    "a text": SECRET,
    "null": None,
    "nested deeply": b"[" * 50_000,
    "a number of many digits": b'{"instances": [{"sku": "A", "demand_units": ' + b"9" * 5000 + b"}]}",
    "NaN": b'{"instances": [{"sku": "A", "demand_units": NaN}]}',
    "NaN in a column that is ignored": b'{"instances": [{"sku": "A", "demand_units": 1, "x": NaN}]}',
    "Infinity": b'{"instances": [{"sku": "A", "demand_units": -Infinity}]}',
    "1e400": b'{"instances": [{"sku": "A", "demand_units": 1e400}]}',
    "no form": {"rows": [ROW]},
    "two forms": {"instances": [ROW], "inputs": FORMS["inputs"]},
    "another field": {"instances": [ROW], SECRET: 1},
    "no rows": {"instances": []},
    "no columns": {"inputs": {}},
    "rows that are no objects": {"instances": [SECRET]},
    "records as object": {"dataframe_records": {"sku": SECRET}},
    "a missing column": {"instances": [{"sku": SECRET}]},
    "a missing key": {"instances": [ROW, {"demand_units": 1}]},
    "a null key": {"instances": [{"sku": None, "demand_units": 1}]},
    "a number as text": {"instances": [{"sku": 1, "demand_units": 1}]},
    "half a character": b'{"instances": [{"sku": "\\ud800", "demand_units": 1}]}',
    "half an optional character": b'{"instances": [{"sku": "A", "demand_units": 1, "note": "\\ud800"}]}',
    "text as a number": {"instances": [{"sku": "A", "demand_units": SECRET}]},
    "true as a number": {"instances": [{"sku": "A", "demand_units": True}]},
    "a list as a number": {"instances": [{"sku": "A", "demand_units": [1]}]},
    "a number as truth": {"instances": [{**ROW, "is_in_stock": 1}]},
    "no date": {"instances": [{**ROW, "period_start": SECRET}]},
    "a date out of range": {"instances": [{**ROW, "period_start": "9999-01-01"}]},
    "a number as a date": {"instances": [{**ROW, "period_start": 5}]},
    "split without data": {"dataframe_split": {"columns": ["sku"]}},
    "split with a short row": {"dataframe_split": {"columns": ["sku", "demand_units"], "data": [["A"]]}},
    "split with a column twice": {"dataframe_split": {"columns": ["sku", "sku"], "data": [["A", "B"]]}},
    "split with a number as column": {"dataframe_split": {"columns": [1, "sku"], "data": [["A", "B"]]}},
    "split with rows that are no lists": {"dataframe_split": {"columns": ["sku"], "data": [SECRET]}},
    "inputs of different length": {"inputs": {"sku": ["A"], "demand_units": [1, 2]}},
    "inputs that are no lists": {"inputs": {"sku": SECRET}},
    "params that are a list": {"instances": [ROW], "params": [SECRET]},
    "params the model does not have": {"instances": [ROW], "params": {SECRET: 1}},
    "params of another type": {"instances": [ROW], "params": {"scale": SECRET}},
    "a param that is too large": {"instances": [ROW], "params": {"scale": 2**70}},
    "rows the model refuses": {"instances": [{"sku": f"refuse {SECRET}", "demand_units": 1}]},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_body_is_400_with_a_message_that_does_not_repeat_it(client, case):
    answer = client.post("/invocations", content=as_bytes(MALFORMED[case]), headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert 20 < len(answer.json()["message"]) < 500
    for leak in (SECRET, "Traceback", "site-packages", ".py"):
        assert leak not in answer.text


def test_the_reason_of_a_model_is_told_when_it_does_not_quote_the_rows(client):
    answer = client.post("/invocations", json={"instances": [{"sku": "gap", "demand_units": 1}]})
    assert "its reason quotes them" in answer.json()["message"]
    answer = client.post("/invocations", json={"instances": [{"sku": "gap in Z", "demand_units": 1}]})
    assert answer.json()["message"] == "demand_forecast refuses these rows: row 0: a gap of 3 days; fill it"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"sku,demand_units\n",
        b"sku,sku\nA,B\n",
        b"sku,demand_units\nA\n",
        b"sku,demand_units\nA,1,2\n",
        b"sku,demand_units\nA,nan\n",
        b"sku,demand_units\nA,inf\n",
        b"sku,demand_units\nA,1e400\n",
        b"sku,demand_units\nA,1_000\n",
        b"sku,demand_units\nA,--\n",
        b"sku,demand_units\nA,\xff\n",
        b'sku,demand_units\n"A,1\n',
        b"sku,demand_units,is_in_stock\nA,1,perhaps\n",
        b"sku,demand_units,period_start\nA,1,soon\n",
    ],
)
def test_a_malformed_csv_is_400(client, body):
    answer = client.post("/invocations", content=body, headers=CSV)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")


def test_a_long_photo_fits_into_a_csv_field(client, home):
    with opened(home) as client:
        body = "sku,demand_units,note\nA,1," + "x" * 500_000 + "\n"
        assert client.post("/invocations", content=body, headers=CSV).status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sku", "demand_units", "columns", "data", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*FORMS, "params", "x"]), json_values, max_size=2))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_json_breaks_the_endpoint(client, content):
    assert client.post("/invocations", content=json.dumps(content).encode(), headers=JSON).status_code in (200, 400)


@given(st.binary(max_size=200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_break_the_endpoint(client, body):
    for headers in (JSON, CSV):
        assert client.post("/invocations", content=body, headers=headers).status_code in (200, 400)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_413(client, announced):
    body = b" " * 100_001
    parts = body if announced else iter([body[:60_000], body[60_000:]])
    answer = client.post("/invocations", content=parts, headers=JSON)
    assert (answer.status_code, "100000 bytes" in answer.json()["message"]) == (413, True)


def test_a_body_at_the_limit_is_read(client):
    body = json.dumps({"instances": [ROW]}).encode().ljust(100_000)
    assert client.post("/invocations", content=body, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/json; charset=latin-1", "application/vnd.apache.parquet"]
)
def test_another_content_type_is_415(client, kind):
    assert client.post("/invocations", content=b"{}", headers={"Content-Type": kind}).status_code == 415


def test_a_failure_inside_a_model_is_500_without_stack_or_body(client, home):
    with opened(home, raise_server_exceptions=False) as client:
        answer = client.post("/invocations", json={"instances": [{"sku": f"break {SECRET}", "demand_units": 1}]})
    assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [("GET", "/nowhere", 404), ("GET", "/invocations", 405), ("DELETE", "/v1/stock", 405)],
)
def test_an_unknown_route_is_refused_in_the_same_shape(client, method, address, status):
    answer = client.request(method, address)
    assert (answer.status_code, sorted(answer.json())) == (status, ["error_code", "message"])


# The reference page


def test_the_reference_page_lists_every_route_and_loads_nothing(client):
    page = client.get("/docs")
    for route in client.get("/openapi.json").json()["paths"]:
        assert route in page.text
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=.https?:", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_openapi_document_names_the_errors_that_are_really_given(client):
    routes = client.get("/openapi.json").json()["paths"]
    answers = {
        route: set(operation["responses"]) for route, methods in routes.items() for operation in methods.values()
    }
    assert answers["/v1/stock"] == {"200", "400", "404", "410", "503"}
    assert answers["/invocations"] == {"200", "400", "413", "415", "503"}


def test_the_root_leads_to_the_reference_page(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


# The command


def test_the_command_serves_on_loopback(client, home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--published", str(home / "published"), "--tracking-uri", tracking_uri(home), "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "serving", *arguments], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert json.load(answer)["status"] == "ok"
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        else:
            pytest.fail("the server did not answer")
    finally:
        process.terminate()
        process.wait()


def test_serving_imports_nothing_of_ours_but_itself():
    code = (
        "import sys, serving.api.app, serving.__main__; "
        "heavy = {'ml', 'orchestration', 'mlflow', 'xgboost', 'tensorflow', 'dagster'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
