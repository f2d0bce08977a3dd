"""A landing folder in S3: what is taken in, left alone and told is as for a folder of this machine.

In `make test` the server is moto's; `make test-services` runs the same tests against a real one, and those that need
its checks of credentials.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from dagster import ExecuteInProcessResult, materialize
from PIL import Image

from orchestration.defs.assets.raw import RAW_TABLES
from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.home.environment import read_settings
from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.errors import LandingUnavailable
from orchestration.ingest.landing import LandingFolder, S3Landing, open_landing, s3_address
from orchestration.ingest.manifests import read_manifests
from orchestration.ingest.pending import look_around
from serving.store import Store

# A parser that Great Expectations brings along imports a module that Python has renamed.
GX_IMPORTS = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENTS = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units\n"
RESERVATIONS = "sku,location_id,document,reserved_units\n"
KEY, SECRET = "tester", "secret-of-tester"


def sale(document: str, units: str = "-1") -> str:
    return f"pos,{document},1,2011-12-01T10:00:00Z,A,UKN,sale,{units}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real server where S3_ENDPOINT names one; it must know the key above."""
    if "S3_ENDPOINT" in os.environ:
        yield os.environ["S3_ENDPOINT"]
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The client of a landing folder, in the environment that a person would set; making one takes a second."""
    folder = tmp_path_factory.mktemp("aws")
    given = {
        "INVENTORYBOT_LANDING": "s3://landing",
        "AWS_ENDPOINT_URL_S3": server,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "no_config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no_credentials"),
        "AWS_DEFAULTS_MODE": "standard",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        landing = open_landing(read_settings())
        assert isinstance(landing, S3Landing)
        yield landing.client


class Home:
    """A landing folder in S3 and a raw folder, with a clock that an hour passes on between two arrivals."""

    def __init__(self, folder: Path, client: Any) -> None:
        self.raw, self.now = folder / "raw", MORNING
        self.landing = S3Landing(f"s3://landing-{uuid4().hex[:12]}/shop/in", client)
        self.bucket, self.prefix = s3_address(self.landing.url)
        client.create_bucket(Bucket=self.bucket)

    def land(self, table: str, name: str, content: str | bytes) -> None:
        self.landing.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}{table}/{name}", Body=content)

    def ingest(self, table: str = "stock_movements", **options: Any) -> ArrivalReport:
        self.now += timedelta(hours=1)
        return ingest_table(table, **{"landing": self.landing, "raw": self.raw, "ingested_at": self.now, **options})

    def rows(self, table: str, columns: str, file: str = "accepted") -> list[tuple[Any, ...]]:
        return duckdb.sql(f"select {columns} from '{self.raw}/{table}/*/{file}.parquet' order by all").fetchall()


@pytest.fixture
def home(client: Any, tmp_path: Path) -> Home:
    return Home(tmp_path, client)


@contextmanager
def not_fetched(home: Home) -> Iterator[None]:
    def fail(**_: Any) -> None:
        pytest.fail("it was fetched")

    home.landing.client.meta.events.register("before-call.s3.GetObject", fail)
    yield
    home.landing.client.meta.events.unregister("before-call.s3.GetObject", fail)


def test_csv_and_parquet_are_taken_in_like_files_of_a_folder(home, tmp_path):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2", "many"))
    columns = MOVEMENTS.strip().split(",")
    values = [("pos", "3", 1, "2011-12-01T10:00:00Z", "A", "UKN", "sale", -3)]
    duckdb.sql(f"copy (from (values {values[0]}) t({', '.join(columns)})) to '{tmp_path}/b.parquet'")
    home.land("stock_movements", "b.parquet", (tmp_path / "b.parquet").read_bytes())
    report = home.ingest()
    assert {file.name: file.outcome for file in report.batches[0].files} == {
        "a.csv": "partly_quarantined",
        "b.parquet": "processed",
    }
    assert home.rows("stock_movements", "document, source_file, source_row") == [
        ("1", "a.csv", 2),
        ("3", "b.parquet", 1),
    ]
    ((file, row, text),) = home.rows("stock_movements", "source_file, source_row, original_text", "quarantined")
    assert (file, row, text) == ("a.csv", 3, sale("2", "many").strip())


def test_the_same_reports_and_rejections_as_for_a_folder(home, tmp_path):
    files = {"a.csv": MOVEMENTS + sale("1"), "b.csv": "sku\nA\n", "c.xlsx": "x", "d.csv.part": "x", "e.csv": ""}
    for name, text in files.items():
        home.land("stock_movements", name, text)
        path = tmp_path / "landing" / "stock_movements" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    there = home.ingest()
    options = {"raw": tmp_path / "raw2", "ingested_at": home.now, "settle_seconds": 0}
    here = ingest_table("stock_movements", landing=tmp_path / "landing", **options)
    assert (there.rows, there.notices, there.waiting) == (here.rows, here.notices, here.waiting)
    assert [(file.name, file.sha256, file.reason) for file in there.rejected] == [
        (file.name, file.sha256, file.reason) for file in here.rejected
    ]
    assert len(there.rejected) == 2


def test_the_same_object_twice_is_a_no_op_and_not_fetched_again(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest()
    with not_fetched(home):
        assert home.ingest().batches == ()


def test_the_same_content_under_another_name_is_nothing_new(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest()
    home.land("stock_movements", "b.csv", MOVEMENTS + sale("1"))
    assert home.ingest().batches == ()


def test_a_changed_object_is_a_new_revision(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest()
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1") + sale("2"))
    rows = home.ingest().rows
    assert (rows.accepted, rows.duplicate) == (1, 1)


def test_an_upload_that_is_not_complete_is_not_there(home):
    key = f"{home.prefix}stock_movements/a.csv"
    upload = home.landing.client.create_multipart_upload(Bucket=home.bucket, Key=key)
    part = {"Bucket": home.bucket, "Key": key, "UploadId": upload["UploadId"], "PartNumber": 1}
    tag = home.landing.client.upload_part(**part, Body=(MOVEMENTS + sale("1")).encode())["ETag"]
    assert home.ingest().rows.rows_in == 0
    home.landing.client.complete_multipart_upload(
        Bucket=home.bucket,
        Key=key,
        UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]},
    )
    assert home.ingest().rows.accepted == 1


def test_an_object_replaced_while_it_is_read_is_left_to_the_next_run(home, tmp_path):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    (listed,) = home.landing.look("stock_movements", settle_seconds=0).files
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("2"))
    with pytest.raises(LandingUnavailable, match=r"a\.csv cannot be read: the object was replaced"):
        home.landing.local(listed, tmp_path / "fetched")


def test_a_list_of_several_objects_is_the_whole_list(home):
    home.land("reservations", "a.csv", RESERVATIONS + "A,UKN,1,2\n")
    home.land("reservations", "b.csv", RESERVATIONS + "B,UKN,2,3\n")
    home.ingest("reservations")
    home.land("reservations", "b.csv", RESERVATIONS + "B,UKN,2,4\n")
    assert home.ingest("reservations").rows.accepted == 2


def test_nothing_that_was_fetched_stays(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest()
    assert [path.name for path in (home.raw / ".arriving" / "stock_movements").iterdir()] == ["lock"]


def test_photos_are_checked_where_they_lie(home, tmp_path):
    Image.new("1", (8, 8)).save(tmp_path / "apple.png")
    home.land("product_photos", "apple.png", (tmp_path / "apple.png").read_bytes())
    paths = ["product_photos/apple.png", "product_photos/pear.png", "photos/./../../x.png"]
    home.land("product_photos", "photos.csv", "photo_path,label\n" + "".join(f"{path},Apple\n" for path in paths))
    report = home.ingest("product_photos")
    assert report.rows.accepted == 1
    assert report.quarantined_by_rule == {"photo_missing": 1, "photo_path_outside_landing": 1}


def test_what_waits_is_seen_without_fetching_it(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    with not_fetched(home):
        assert look_around(home.landing, home.raw, 0).files == ("stock_movements/a.csv",)


def test_a_missing_bucket_is_named_and_other_doors_go_on(home):
    landing = S3Landing(f"s3://absent-{uuid4().hex[:8]}", home.landing.client)
    report = home.ingest("stock_lots", landing=landing)
    (told,) = report.unavailable
    assert told.startswith(landing.url)
    assert "there is no such bucket" in told
    assert report.failed is None


def test_a_required_table_says_that_its_landing_folder_does_not_answer(home):
    report = home.ingest("products", landing=S3Landing(f"s3://absent-{uuid4().hex[:8]}", home.landing.client))
    assert "there is no such bucket" in (report.failed or "")


def test_an_unreachable_server_is_tried_again_and_named_without_credentials(home, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://ann:hidden@127.0.0.1:{port}")
    landing = open_landing(read_settings())
    tries = []
    landing.client.meta.events.register("before-send.s3.ListObjectsV2", lambda **_: tries.append(1))
    with pytest.raises(LandingUnavailable, match=rf"http://127\.0\.0\.1:{port} does not answer") as raised:
        landing.look("stock_movements", settle_seconds=0)
    assert len(tries) > 2
    assert "hidden" not in str(raised.value)


def test_absent_credentials_are_told_with_what_to_set(home, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(LandingUnavailable, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        open_landing(read_settings()).look("stock_movements", settle_seconds=0)


def test_a_file_that_has_gone_is_named_with_what_to_do(tmp_path):
    with pytest.raises(LandingUnavailable, match=r"photos/tin\.jpg is not there any more: .* INVENTORYBOT_LANDING"):
        LandingFolder(tmp_path).read("photos/tin.jpg")


@pytest.mark.services
@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [(KEY, "hidden-secret", "the secret does not fit"), ("nobody", "hidden-secret", "the access key is not known")],
)
def test_wrong_credentials_are_told_and_not_shown(home, monkeypatch, key, secret, words):
    assert "S3_ENDPOINT" in os.environ, "S3_ENDPOINT names no S3 server; `make test-services` starts one"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    report = home.ingest(landing=open_landing(read_settings()))
    (told,) = report.unavailable
    assert words in told
    assert secret not in told


def test_without_a_scheme_the_landing_folder_is_one_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("INVENTORYBOT_LANDING", str(tmp_path))
    assert open_landing(read_settings()) == LandingFolder(tmp_path)


@pytest.mark.parametrize("url", ["s3://", "s3://B", "s3:///in", "gs://bucket/in", "https://bucket/in"])
def test_an_address_that_is_none_is_named(monkeypatch, url):
    monkeypatch.setenv("INVENTORYBOT_LANDING", url)
    with pytest.raises(ValueError, match=r"is not a landing folder; write a path, or s3://bucket/prefix"):
        open_landing(read_settings())


def test_a_manifest_remembers_which_version_it_was_made_from(home):
    home.land("stock_movements", "a.csv", MOVEMENTS + sale("1"))
    home.ingest()
    (manifest,) = read_manifests(home.raw / "stock_movements")
    (listed,) = home.landing.look("stock_movements", settle_seconds=0).files
    assert manifest.files[0].mark == listed.mark


def materialized(home: Home, monkeypatch: pytest.MonkeyPatch, landing: str) -> ExecuteInProcessResult:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(home.raw.parent))
    monkeypatch.setenv("INVENTORYBOT_LANDING", landing)
    url = f"sqlite:///{home.raw.parent / 'store.sqlite'}"
    Store.migrate(url)
    (lots,) = (table for table in RAW_TABLES if table.key.path == ["raw", "stock_lots"])
    return materialize([lots], resources={"home": HomeResource(), "store": StoreResource(url=url)})


@GX_IMPORTS
def test_the_asset_of_a_table_takes_in_what_lies_in_s3(home, monkeypatch):
    home.land("stock_lots", "lots.csv", "sku,location_id,lot_id,expires_date\nA,UKN,1,2011-12-24\n")
    assert materialized(home, monkeypatch, home.landing.url).success
    assert home.rows("stock_lots", "sku, source_file") == [("A", "lots.csv")]


@GX_IMPORTS
def test_a_landing_folder_that_does_not_answer_is_a_check_that_warns(home, monkeypatch):
    result = materialized(home, monkeypatch, "s3://absent-bucket/in")
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert result.success
    assert [check.check_name for check in failed] == ["sources"]
    assert "there is no such bucket" in str(failed[0].metadata["failures"].value)
