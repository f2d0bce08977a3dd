"""How sources write numbers and times: asked once where nothing tells, and kept."""

from decimal import Decimal

import pytest
from click.testing import CliRunner
from support.small_files import Intake, as_csv, movement

from orchestration.cli.main import cli
from orchestration.ingest.errors import ContractError
from orchestration.ingest.formats import Format, format_of, load_formats, save_format
from orchestration.ingest.quarantine import list_quarantined, release


def quantities(tmp_path, *texts: str, formats=(), delimiter=";") -> list[Decimal] | str:
    home = Intake(tmp_path)
    rows = [movement(document=str(n), quantity_units=text) for n, text in enumerate(texts)]
    home.put("stock_movements", "a.csv", as_csv(*rows, delimiter=delimiter))
    report = home.take_in("stock_movements", formats=formats)
    if report.rejected:
        return report.rejected[0].reason
    return [units for (units,) in home.rows("stock_movements", "quantity_units")]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["-1,5", "-2.500"], ["-1.5", "-2500"]),
        (["-1.234.567", "-2.500"], ["-1234567", "-2500"]),
        (["-0,125", "-2.500"], ["-0.125", "-2500"]),
        (["-1.5", "-2.500"], ["-1.5", "-2.5"]),
        (["-0.125", "-2.500"], ["-0.125", "-2.5"]),
        (["-3", "-4"], ["-3", "-4"]),
    ],
)
def test_numbers_that_tell_their_format_are_read_by_it(tmp_path, texts, expected):
    assert quantities(tmp_path, *texts) == [Decimal(text) for text in expected]


@pytest.mark.parametrize("texts", [["-1.234", "-2.500"], ["-1,234"], ["-1,5", "-2.5", "-1.234"]])
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_numbers_that_may_mean_two_things_are_asked_for(tmp_path, texts, delimiter):
    reason = quantities(tmp_path, *texts, delimiter=delimiter)
    assert (
        "say once how this source writes numbers, `inventorybot sources format stock_movements --decimal po" in reason
    )


@pytest.mark.parametrize(("decimal", "expected"), [("comma", ["-1234", "-2500"]), ("point", ["-1.234", "-2.5"])])
def test_the_answer_is_followed_and_kept(home_folder, decimal, expected):
    home = Intake(home_folder)
    home.put(
        "stock_movements",
        "a.csv",
        as_csv(movement(quantity_units="-1.234"), movement(document="D2", quantity_units="-2.500"), delimiter=";"),
    )
    assert home.take_in("stock_movements").rejected
    answered = CliRunner().invoke(
        cli, ["sources", "format", "stock_movements", "--decimal", decimal, "--author", "Ann"]
    )
    assert answered.output == f"files stock_movements/* have a decimal {decimal} (said by Ann)\n"
    formats = load_formats(home_folder / "formats.yml")
    assert home.take_in("stock_movements", formats=formats).rows.accepted == 2
    found = home.rows("stock_movements", "quantity_units")
    assert [units for (units,) in found] == [Decimal(text) for text in expected]
    assert "(said by Ann)" in CliRunner().invoke(cli, ["sources", "list"]).output


def test_a_quarantined_row_is_judged_again_by_the_format_of_its_file(tmp_path):
    home = Intake(tmp_path)
    bad = movement(document="D2", quantity_units="1.000,5", occurred_at="2024-05-01 10:00:00")
    home.put("stock_movements", "a.csv", as_csv(movement(quantity_units="-1,5"), bad, delimiter=";"))
    home.take_in("stock_movements", formats=(Format("stock_movements", time_zone="Europe/Berlin"),))
    rows = list_quarantined(home.raw)
    release(home.raw, home.landing, rows, corrections={"movement_type": "return"}, ingested_at=home.now)
    assert home.rows("stock_movements", "quantity_units, occurred_at::varchar")[1] == (
        Decimal("1000.5"),
        "2024-05-01 08:00:00+00",
    )


def test_times_without_an_offset_are_told_and_can_be_given_a_zone(tmp_path):
    home = Intake(tmp_path)
    home.put("stock_movements", "a.csv", as_csv(movement(occurred_at="2024-05-01 10:00:00")))
    (told,) = home.take_in("stock_movements").notices
    assert (
        "were read as UTC; if they are local, say so once: `inventorybot sources format stock_movements --time-" in told
    )
    home.put("stock_movements", "b.csv", as_csv(movement(document="D2", occurred_at="2024-05-01T10:00")))
    home.put("stock_movements", "c.csv", as_csv(movement(document="D3", occurred_at="2024-05-01T10:00:00+00:00")))
    home.take_in("stock_movements", formats=(Format("stock_movements", "b*", time_zone="Europe/Berlin"),))
    assert [at for (at,) in home.rows("stock_movements", "occurred_at::varchar")] == [
        "2024-05-01 10:00:00+00",
        "2024-05-01 08:00:00+00",
        "2024-05-01 10:00:00+00",
    ]


def test_the_answer_for_some_files_goes_before_that_for_all(tmp_path):
    path = tmp_path / "formats.yml"
    save_format(path, Format("products", decimal="comma", said_by="Ann"))
    save_format(path, Format("products", time_zone="Europe/Paris", said_by="Bob"))
    known = save_format(path, Format("products", "us_*.csv", decimal="point", said_by="Ann"))
    assert format_of(known, "products", "us_1.csv").decimal == "point"
    assert format_of(known, "products", "de_1.csv") == Format("products", "de_1.csv", "comma", "Europe/Paris")
    assert format_of(known, "stock_movements", "us_1.csv").decimal is None


@pytest.mark.parametrize("text", ["formats: [{table: x}]", "formats: [{table: products, decimal: dot}]", "a: [", "[1]"])
def test_a_file_of_answers_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "formats.yml"
    path.write_text(text)
    with pytest.raises(ContractError):
        load_formats(path)


def test_a_zone_that_does_not_exist_is_named(home_folder):
    answered = CliRunner().invoke(cli, ["sources", "format", "products", "--time-zone", "Berlin"])
    assert "there is no time zone 'Berlin'; write an IANA name, as in Europe/Berlin" in answered.output
