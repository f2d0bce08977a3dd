import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from support.tiny_home import publish, remove, switch_to

from serving.published.generations import GenerationRemovedError, Generations, NothingPublishedError
from serving.published.tables import page

POSITIONS = "select count(*) from marts.fct_stock_position"


@pytest.fixture
def generations(tmp_path):
    opened = Generations(tmp_path / "published")
    yield opened
    opened.close()


def test_an_empty_home_names_the_command_that_publishes(generations):
    with pytest.raises(NothingPublishedError, match="inventorybot run"):
        generations.current()


def test_the_current_generation_is_the_one_the_link_names(generations, tmp_path):
    publish(tmp_path, "g1")
    publish(tmp_path, "g2")
    assert generations.current().name == "g2"
    switch_to(tmp_path / "published", "wh_g1.duckdb")
    assert generations.current().name == "g1"


def test_a_publication_is_followed_without_restart(generations, tmp_path):
    publish(tmp_path, "g1", skus=1)
    with generations.cursor(generations.current()) as cursor:
        assert cursor.execute(POSITIONS).fetchall() == [(2,)]
    publish(tmp_path, "g2", skus=3)
    with generations.cursor(generations.current()) as cursor:
        assert cursor.execute(POSITIONS).fetchall() == [(6,)]


def test_a_kept_generation_can_still_be_read(generations, tmp_path):
    publish(tmp_path, "g1", skus=1)
    publish(tmp_path, "g2", skus=3)
    with generations.cursor(generations.kept("g1")) as cursor:
        assert cursor.execute(POSITIONS).fetchall() == [(2,)]


def test_a_removed_generation_says_what_to_do(generations, tmp_path):
    first = publish(tmp_path, "g1")
    generations.current()
    publish(tmp_path, "g2")
    remove(first)
    with pytest.raises(GenerationRemovedError, match="ask again without cursor"):
        generations.kept("g1")


@pytest.mark.parametrize("name", ["../g1", "folder/../wh_g1", "", "a" * 200, "g\0"])
def test_a_name_that_is_no_name_is_a_removed_generation(generations, tmp_path, name):
    publish(tmp_path, "g1")
    (tmp_path / "published" / "wh_folder").mkdir()
    with pytest.raises(GenerationRemovedError):
        generations.kept(name)


def test_a_fact_file_that_vanished_is_damage_and_says_so(generations, tmp_path):
    publish(tmp_path, "g1")
    next((tmp_path / "published" / "facts").iterdir()).unlink()
    with (
        pytest.raises(NothingPublishedError, match="publish again, or restore"),
        generations.cursor(generations.current()) as cursor,
    ):
        cursor.execute("select * from reporting.fct_demand_forecasts").fetchall()


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"generation": "g1", "as_of": "2011-10-31", "models": null}', None]
)
def test_a_generation_without_readable_manifest_is_refused(generations, tmp_path, manifest):
    file = publish(tmp_path, "g1").with_suffix(".json")
    file.unlink() if manifest is None else file.write_text(manifest)
    with pytest.raises(NothingPublishedError, match=r"wh_g1\.json cannot be read"):
        generations.current()


def test_a_file_that_is_no_database_is_refused(generations, tmp_path):
    publish(tmp_path, "g1").write_bytes(b"not a database" * 1000)
    with pytest.raises(NothingPublishedError, match="not a DuckDB database"):
        generations.current()


def test_a_reader_can_neither_write_nor_leave_the_folder(generations, tmp_path):
    publish(tmp_path, "g1")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with generations.cursor(generations.current()) as cursor:
        for statement in (
            "create table t (a integer)",
            f"from '{tmp_path}/secret.csv'",
            "set enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(statement)


def test_instants_come_in_utc_wherever_the_server_stands(tmp_path):
    publish(tmp_path, "g1")
    code = f"""
from pathlib import Path
from serving.published.generations import Generations
generations = Generations(Path({str(tmp_path / "published")!r}))
with generations.cursor(generations.current()) as cursor:
    print(cursor.execute("select timestamptz '2011-01-01 00:00:00+00'").fetchall()[0][0])
"""
    environment = {**os.environ, "TZ": "America/New_York"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert result.stdout == "2011-01-01 00:00:00+00:00\n"


def test_a_folder_with_a_quote_in_its_name_is_served(tmp_path):
    generations = Generations(tmp_path / "it's" / "published")
    publish(tmp_path / "it's", "g1")
    with generations.cursor(generations.current()) as cursor:
        assert cursor.execute(POSITIONS).fetchall() == [(10,)]
    generations.close()


def test_many_readers_see_whole_generations_while_others_are_published_and_removed(generations, tmp_path):
    files = [publish(tmp_path, "g000", skus=1)]
    done = threading.Event()

    def read() -> set[tuple[str, int, int]]:
        seen = set()
        while not done.is_set():
            generation = generations.current()
            try:
                with generations.cursor(generation) as cursor:
                    stock = cursor.execute(POSITIONS).fetchall()[0][0]
                    forecasts = cursor.execute("select count(*) from reporting.fct_demand_forecasts").fetchall()[0][0]
            except GenerationRemovedError:
                continue
            seen.add((generation.name, stock, forecasts))
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for number in range(1, 12):
            files.append(publish(tmp_path, f"g{number:03}", skus=number + 1))
            if number > 3:
                remove(files[number - 3])
                (tmp_path / "published" / "facts" / f"reporting.fct_demand_forecasts_g{number - 3:03}.parquet").unlink()
        done.set()
        seen = set().union(*(reader.result() for reader in readers))
    assert len(seen) > 1
    assert all(
        (stock, forecasts) == (2 * (int(name[1:]) + 1), 14 * (int(name[1:]) + 1)) for name, stock, forecasts in seen
    )


def test_a_generation_removed_before_its_first_page_is_read_gives_the_page_of_the_next(tmp_path):
    class Overtaken(Generations):
        def cursor(self, generation):
            if generation.name == "g1":
                publish(tmp_path, "g2", skus=9)
                remove(tmp_path / "published" / "wh_g1.duckdb")
                (tmp_path / "published" / "facts" / "reporting.fct_demand_forecasts_g1.parquet").unlink()
            return super().cursor(generation)

    publish(tmp_path, "g1", skus=1)
    generations = Overtaken(tmp_path / "published")
    found = page(generations, "forecasts", {}, limit=1000)
    assert (found.generation, len(found.rows)) == ("g2", 9 * 2 * 7)
    generations.close()


def test_the_manifest_tells_as_of_and_pinned_models(generations, tmp_path):
    publish(tmp_path, "g1", {"demand_forecast": {"version": "3", "run_id": "r", "folder_sha256": "s"}})
    generation = generations.current()
    assert (generation.as_of, generation.models["demand_forecast"]["version"]) == ("2011-10-31", "3")
    assert json.dumps(generation.manifest)
