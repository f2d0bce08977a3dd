"""Photos that rows of product_photos name."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from PIL import Image

from orchestration.ingest import photos
from orchestration.ingest.batches import ArrivalReport, ingest_table

ARRIVED = datetime(2026, 11, 23, 6, tzinfo=UTC)


def landed(folder: Path, name: str, sha256: str = "") -> ArrivalReport:
    table = folder / "landing" / "product_photos"
    table.mkdir(parents=True, exist_ok=True)
    (table / "product_photos.csv").write_text(f"photo_path,label,sha256\n{name},Apple,{sha256}\n")
    return ingest_table(
        "product_photos", landing=folder / "landing", raw=folder / "raw", ingested_at=ARRIVED, settle_seconds=0
    )


def photo(folder: Path, size: tuple[int, int] = (8, 8)) -> Path:
    path = folder / "landing" / "product_photos" / "apple.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", size).save(path)
    return path


def reason_of(folder: Path) -> str:
    return duckdb.sql(f"select reason from '{folder}/raw/product_photos/*/quarantined.parquet'").fetchall()[0][0]


def test_the_hash_of_a_photo_is_filled_in(tmp_path):
    path = photo(tmp_path)
    assert landed(tmp_path, "product_photos/apple.png").rows.accepted == 1
    found = duckdb.sql(f"select sha256 from '{tmp_path}/raw/product_photos/*/accepted.parquet'").fetchall()
    assert found == [(hashlib.sha256(path.read_bytes()).hexdigest(),)]


def test_a_photo_with_the_right_hash_is_accepted(tmp_path):
    digest = hashlib.sha256(photo(tmp_path).read_bytes()).hexdigest()
    assert landed(tmp_path, "product_photos/apple.png", digest).rows.accepted == 1


def test_a_photo_with_another_hash_is_quarantined(tmp_path):
    photo(tmp_path)
    assert landed(tmp_path, "product_photos/apple.png", "0" * 64).quarantined_by_rule == {"photo_hash_differs": 1}


def test_a_missing_photo_is_quarantined(tmp_path):
    assert landed(tmp_path, "product_photos/pear.png").quarantined_by_rule == {"photo_missing": 1}
    assert "product_photos/pear.png: there is no such file" in reason_of(tmp_path)


def test_a_photo_that_is_no_image_is_quarantined_with_how_it_begins(tmp_path):
    photo(tmp_path).write_bytes(b"<html>")
    assert landed(tmp_path, "product_photos/apple.png").quarantined_by_rule == {"photo_not_an_image": 1}
    assert "begins with 3c 68 74 6d 6c 3e" in reason_of(tmp_path)


def test_an_empty_photo_is_quarantined(tmp_path):
    photo(tmp_path).write_bytes(b"")
    assert landed(tmp_path, "product_photos/apple.png").quarantined_by_rule == {"photo_not_an_image": 1}


@pytest.mark.parametrize("size", [(20_000, 10_000), (10_000, 6_000)], ids=["200 megapixels", "60 megapixels"])
def test_a_photo_of_too_many_pixels_is_quarantined(tmp_path, size):
    photo(tmp_path, size)
    assert landed(tmp_path, "product_photos/apple.png").quarantined_by_rule == {"photo_too_large": 1}
    assert "pixels" in reason_of(tmp_path)


def test_a_photo_of_too_many_bytes_is_quarantined_unread(tmp_path):
    with photo(tmp_path).open("ab") as file:
        file.truncate(photos.MOST_BYTES + 1)
    assert landed(tmp_path, "product_photos/apple.png").quarantined_by_rule == {"photo_too_large": 1}
    assert "50,000,001 bytes" in reason_of(tmp_path)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "product_photos/../../secret.png"])
def test_a_path_out_of_the_landing_folder_is_quarantined(tmp_path, path):
    Image.new("1", (8, 8)).save(tmp_path / "secret.png")
    assert landed(tmp_path, path).quarantined_by_rule == {"photo_path_outside_landing": 1}


def test_a_link_out_of_the_landing_folder_is_quarantined(tmp_path):
    Image.new("1", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "landing" / "product_photos").mkdir(parents=True)
    (tmp_path / "landing" / "product_photos" / "link.png").symlink_to(tmp_path / "secret.png")
    assert landed(tmp_path, "product_photos/link.png").quarantined_by_rule == {"photo_outside_landing": 1}
