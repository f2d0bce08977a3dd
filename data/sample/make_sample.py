"""Make the shipped sample: real customer orders, a simulated warehouse around them, and the truth about both.

Here belongs everything the sample is made of: reading the public sources, the split into depots, the warehouse simulator,
the planted record errors and the files. Nothing here is imported by the product. Run by hand:

    BENCH_DATA=../shared/data python data/sample/make_sample.py [--output data/sample]

The same sources give the same bytes. What is real and what is simulated stands in the README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import heapq
import io
import os
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "dbt_project" / "models" / "sources.yml"

SEED = 541909
FIRST_DAY = date(2010, 12, 1)
SELLER_ZONE = ZoneInfo("Europe/London")

# --- the invented company around the real orders -----------------------------------------------------------------------

LOCATIONS = pd.DataFrame(
    [
        ("UKN", "Northampton depot", "warehouse", "GB", "Europe/London"),
        ("UKS", "Southampton depot", "warehouse", "GB", "Europe/London"),
        ("EUR", "Rotterdam depot", "warehouse", "NL", "Europe/Amsterdam"),
    ],
    columns=["location_id", "location_name", "location_type", "country", "time_zone"],
)

# supplier_id, name, share of the range, agreed lead time in days, review period in days, weekdays, minimum order value, cost of an order
SUPPLIERS: list[tuple[str, str, int, int, int, str, int, int]] = [
    ("S01", "Ashdown Giftware", 16, 7, 7, "Mon", 150, 15),
    ("S02", "Bramble & Finch", 14, 10, 7, "Tue", 150, 15),
    ("S03", "Calder Ceramics", 10, 14, 7, "Wed", 200, 20),
    ("S04", "Dunlin Paper Mill", 12, 7, 4, "Mon Thu", 100, 10),
    ("S05", "Elmswell Candle Works", 8, 10, 7, "Thu", 120, 15),
    ("S06", "Fairholt Textiles", 9, 12, 7, "Fri", 150, 20),
    ("S07", "Gosling Toys", 7, 14, 4, "Tue Fri", 150, 15),
    ("S08", "Harrow Glass", 6, 14, 7, "Wed", 200, 25),
    ("S09", "Ipsden Jewellery", 7, 9, 1, "", 0, 8),
    ("S10", "Jiaxing Homeware Trading", 5, 28, 7, "Mon", 400, 60),
    ("S11", "Kutná Metalworks", 4, 21, 7, "Thu", 300, 40),
    ("S12", "Lisburn Storage", 2, 18, 7, "Tue", 200, 30),
]
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

# Days on which the rule looks back, its safety factor on the standard deviation of demand, and the days of demand a lot covers.
RULE_WINDOW_DAYS = 56
RULE_SAFETY_FACTOR = 4.4
RULE_COVER_DAYS = 28
OPENING_PLAN_DAYS = 56
# A launch is a product whose first order comes later than this many days after the data begin.
LAUNCH_AFTER_DAYS = 21
# An overdue rest of a purchase order line is given up after this many days.
GIVE_UP_DAYS = 45
PARTIAL_RECEIPT_SHARE = 0.07
OWN_LEAD_TIME_SHARE = 0.25
SUPPLIER_CANCELS_SHARE = 0.004
LATE_RECORD_SHARE = 0.01
REVISED_RECEIPT_SHARE = 0.003
RATIO_CLIP = (0.3, 3.0)

PLANTINGS = 1600
# Units in error, in days of mean demand: up to 3 small, up to 12 medium, above large.
SIZE_EDGES = (3.0, 12.0)
SIZES = ("small", "medium", "large")

PHOTO_CLASSES = 30
PHOTOS_PER_CLASS = 40
PHOTO_SIDE = 96
PHOTO_QUALITY = 80

# Codes that name no article: carriage, fees, discounts, vouchers, samples, manual lines.
SERVICE_CODES = {"POST", "DOT", "C2", "D", "M", "m", "S", "B", "CRUK", "BANK CHARGES", "AMAZONFEE"}

DAMAGE_WORDS = (
    "damag", "wet", "rust", "mould", "crush", "smash", "broken", "thrown", "throw", "destroy", "unsaleable",
    "faulty", "dirty", "rotten", "cracked", "smudge", "lost", "missing", "mia", "display", "sample", "rusty", "dagamed",
)  # fmt: skip

# Last word of the description that names a thing -> merchandise group. Searched from the end of the description.
CATEGORY_WORDS = {
    "bags": "BAG BAGS HANDBAG WASHBAG SHOPPER PURSE LUGGAGE RUCKSACK BACKPACK SATCHEL WALLET",
    "mugs and cups": "MUG MUGS CUP CUPS TEACUP BEAKER SAUCER TEAPOT TEAPOTS TEACUPS",
    "plates and bowls": "BOWL BOWLS PLATE PLATES DISH DISHES JUG CAKESTAND PLATTER RAMEKIN",
    "candles": "CANDLE CANDLES CANDLEHOLDER CANDLESTICK T-LIGHT T-LIGHTS TLIGHT LANTERN LANTERNS INCENSE NIGHTLIGHT CANDLEPOT",
    "lights": "LIGHT LIGHTS LAMP LAMPSHADE CHANDELIER",
    "jewellery": "NECKLACE BRACELET EARRINGS RING CHARM BROOCH PENDANT BANGLE BEADS HAIRSLIDE HAIRBAND GRIP TIARA CLASP SLIDE HAIRCLIP BEAD",
    "boxes and storage": "BOX BOXES TIN TINS JAR JARS BASKET BASKETS CABINET DRAWER DRAWERS CRATE TRUNK STORAGE CONTAINER ORGANISER RACK TIDY CASE BIN",
    "signs and hooks": "SIGN SIGNS HOOK HOOKS HANGER KNOB BLACKBOARD BOARD CHALKBOARD DOORSTOP PLAQUE KNOBS HANGERS",
    "frames and mirrors": "FRAME FRAMES MIRROR MIRRORS PHOTO CLOCK CLOCKS ALBUM",
    "decorations": "DECORATION DECORATIONS GARLAND BUNTING WREATH BAUBLE BAUBLES TREE ANGEL STAR STARS BELL BELLS MOBILE CHAIN ORNAMENT REINDEER SANTA SNOWMAN SNOWFLAKE SNOWFLAKES STOCKING EGG EGGS FLAG RIBBON RIBBONS",
    "cards and paper": "CARD CARDS WRAP PAPER TISSUE TISSUES NOTEBOOK JOURNAL SKETCHBOOK BOOK STICKERS TAPE TAG TAGS NAPKINS DOILY DOILIES ENVELOPE ENVELOPES CALENDAR NOTELETS STATIONERY LETTERS LETTER PASSPORT",
    "baking": "CASES CUTTERS CUTTER APRON WHISK SPOON SPOONS RECIPE SCALES TEATOWEL TEATOWELS OVENGLOVE MEASURING MOULD MOULDS TOWEL TOWELS CUTLERY COASTER COASTERS PLACEMATS PLACEMAT TRAY TRAYS BOTTLE BOTTLES LUNCHBOX",
    "textiles": "CUSHION CUSHIONS COVER THROW QUILT RUG DOORMAT MAT CURTAIN BLANKET SCARF SLIPPERS COSY WARMER UMBRELLA PARASOL FLANNEL GLOVES SHAWL SOCKS HAT PONCHO BEANBAG",
    "garden": "GARDEN PLANTER POT POTS BUCKET TROUGH FORK TROWEL SPADE THERMOMETER BIRDHOUSE FEEDER SEEDS WATERING CAN HERB",
    "toys and games": "TOY TOYS DOLL GAME GAMES PUZZLE SKITTLES SOLDIER HARMONICA JIGSAW DOMINOES CARS CAR BALL BALLOONS BALLOON RABBIT BEAR BUNNY PUPPET SLINKY GLIDERS ROCKET XYLOPHONE PLAYHOUSE CRAYONS CHALKS DINOSAUR DUCKS",
    "craft and pens": "KIT CRAFT PEN PENS PENCIL PENCILS RULER STAMP STAMPS SEWING BUTTONS WOOL ERASER ERASERS SHARPENER SHARPENERS",
    "bath and body": "SOAP BALM BATH PERFUME PLASTERS TOOTHBRUSH SPONGE",
    "stands and furniture": "STAND STOOL CHAIR TABLE SHELF SIDEBOARD BENCH HOLDER LADDER",
    "artificial flowers": "FLOWER FLOWERS ROSE ROSES STEM TULIP DAISY BLOSSOM BOUQUET",
    "magnets and stickers": "MAGNETS MAGNET STICKER TATTOOS KEYRING KEYRINGS KEYCHAIN BADGES BADGE PATCHES",
}  # fmt: skip
GROUP_OF_WORD = {word: group for group, words in CATEGORY_WORDS.items() for word in words.split()}

GB_HOLIDAYS = {
    "2010-12-25": "Christmas Day", "2010-12-27": "Christmas Day (substitute)", "2010-12-28": "Boxing Day (substitute)",
    "2011-01-03": "New Year's Day (substitute)", "2011-04-22": "Good Friday", "2011-04-25": "Easter Monday",
    "2011-04-29": "Royal Wedding", "2011-05-02": "Early May bank holiday", "2011-05-30": "Spring bank holiday",
    "2011-08-29": "Summer bank holiday", "2011-12-26": "Boxing Day", "2011-12-27": "Christmas Day (substitute)",
    "2012-01-02": "New Year's Day (substitute)", "2012-04-06": "Good Friday", "2012-04-09": "Easter Monday",
    "2012-05-07": "Early May bank holiday", "2012-06-04": "Spring bank holiday", "2012-06-05": "Diamond Jubilee",
}  # fmt: skip
NL_HOLIDAYS = {
    "2010-12-25": "Christmas Day", "2010-12-26": "Second Christmas Day", "2011-01-01": "New Year's Day",
    "2011-04-22": "Good Friday", "2011-04-25": "Easter Monday", "2011-04-30": "Queen's Day",
    "2011-12-25": "Christmas Day", "2011-12-26": "Second Christmas Day", "2012-01-01": "New Year's Day",
    "2012-04-06": "Good Friday", "2012-04-09": "Easter Monday", "2012-04-30": "Queen's Day",
}  # fmt: skip
# Public holidays on which the Rotterdam depot shipped all the same.
NL_WORKED = {"2011-06-02": "Ascension Day", "2011-06-13": "Whit Monday", "2012-05-17": "Ascension Day", "2012-05-28": "Whit Monday"}
# Days the seller will be closed after the data end: last year's Christmas closure, repeated, and the bank holidays.
PLANNED_CLOSURES = [
    "2011-12-24", "2011-12-26", "2011-12-27", "2011-12-28", "2011-12-29", "2011-12-30", "2011-12-31", "2012-01-01", "2012-01-02",
    "2012-04-06", "2012-04-08", "2012-04-09", "2012-05-07", "2012-06-04", "2012-06-05",
]  # fmt: skip
CALENDAR_UNTIL = date(2012, 6, 30)

SALE, CANCELLATION, RETURN, CORRECTION = range(4)


def fraction(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone, on every machine."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def generator(*parts: object) -> random.Random:
    """Return a random generator that depends on the seed and the parts alone, so that one more item changes no other's draws."""
    return random.Random("|".join(map(str, (SEED, *parts))))


# --- time ------------------------------------------------------------------------------------------------------------


class Clock:
    """Day numbers (0 = 2010-12-01 in the seller's zone), open days and UTC seconds."""

    def __init__(self, closed: Iterable[int] = ()) -> None:
        self.noon = {
            day: int(datetime(*(FIRST_DAY + timedelta(days=day)).timetuple()[:3], 12, tzinfo=SELLER_ZONE).timestamp())
            for day in range(-200, 700)
        }
        self.closed = frozenset(closed)

    def at(self, day: int, minute: int) -> int:
        """Return the UTC second of a minute of the seller's day; minutes from 02:00 on, where no clock change can fall."""
        return self.noon[day] + (minute - 720) * 60

    def day_of(self, second: int) -> int:
        """Return the seller's day of a UTC second."""
        local = datetime.fromtimestamp(second, SELLER_ZONE)
        return (local.date() - FIRST_DAY).days

    def is_open(self, day: int) -> bool:
        """Return whether the seller ships on that day."""
        return (FIRST_DAY.weekday() + day) % 7 != 5 and day not in self.closed

    def next_delivery_day(self, day: int) -> int:
        """Return the first day from `day` on that a lorry may call: Monday to Friday, open."""
        while (FIRST_DAY.weekday() + day) % 7 > 4 or not self.is_open(day):
            day += 1
        return day


def as_date(day: int) -> date:
    """Return the calendar date of a day number."""
    return FIRST_DAY + timedelta(days=int(day))


# --- the real orders -------------------------------------------------------------------------------------------------


def read_orders(source: Path) -> pd.DataFrame:
    """Return the 541,909 invoice lines with identity, instant, depot and kind, in the order of the source.

    Columns: document, line, sku, description, quantity (as in the source), unit_price, customer, second (UTC), day, location_id,
    kind (SALE, CANCELLATION, RETURN, CORRECTION), target (row of the cancelled sale, -1 otherwise).
    """
    raw = pd.read_parquet(source)
    orders = pd.DataFrame(
        {
            "document": raw["InvoiceNo"].astype(str),
            "sku": raw["StockCode"].astype(str),
            "description": raw["Description"],
            "quantity": raw["Quantity"].astype("int64"),
            "unit_price": raw["UnitPrice"],
            "customer": raw["CustomerID"].astype("Int64"),
            "country": raw["Country"],
        }
    )
    orders["line"] = orders.groupby("document", sort=False).cumcount() + 1
    local = raw["InvoiceDate"].dt.tz_localize("Europe/London", ambiguous="raise", nonexistent="raise")
    orders["second"] = local.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[s]").astype("int64")
    orders["day"] = (raw["InvoiceDate"].dt.normalize() - pd.Timestamp(FIRST_DAY)).dt.days
    orders["location_id"] = depots(orders)
    orders["kind"], orders["target"] = kinds(orders)
    matched = orders["target"] >= 0
    orders.loc[matched, "location_id"] = orders["location_id"].to_numpy()[orders.loc[matched, "target"]]
    return orders


def depots(orders: pd.DataFrame) -> np.ndarray:
    """Return the depot of each line: two for the United Kingdom by customer (by invoice without one), one for all other countries."""
    owner = orders["customer"].astype("string").fillna("invoice " + orders["document"])
    code, owners = pd.factorize(owner)
    half = np.array([fraction("depot", name) < 0.58 for name in owners])
    return np.where(orders["country"] != "United Kingdom", "EUR", np.where(half[code], "UKN", "UKS"))


def kinds(orders: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return what each line is, and for a cancellation the row of the sale it cancels.

    A line whose invoice begins with C cancels the latest earlier line of the same customer and code of which at least that quantity is
    left; without one it is a return. A negative line of another invoice is a stock correction. All else is an order.
    """
    is_credit = orders["document"].str.startswith("C").to_numpy()
    quantity = orders["quantity"].to_numpy()
    kind = np.where(is_credit, RETURN, np.where(quantity < 0, CORRECTION, SALE))
    target = np.full(len(orders), -1, dtype=np.int64)
    left = quantity.copy()
    earlier: dict[tuple[int, str], list[int]] = defaultdict(list)
    customers = orders["customer"].fillna(-1).to_numpy(dtype=np.int64)
    skus = orders["sku"].to_numpy()
    credited = {(c, s) for c, s in zip(customers[is_credit], skus[is_credit], strict=True) if c >= 0}
    for row, key in enumerate(zip(customers, skus, strict=True)):
        if key not in credited:
            continue
        if kind[row] == SALE:
            earlier[key].append(row)
        elif kind[row] == RETURN:
            match = next((sale for sale in reversed(earlier[key]) if left[sale] >= -quantity[row]), None)
            if match is not None:
                kind[row], target[row] = CANCELLATION, match
                left[match] += quantity[row]
    return kind, target


def make_products(orders: pd.DataFrame) -> pd.DataFrame:
    """Return the product master: codes of articles that have a name and a price; one row per sku."""
    priced = orders[(orders["unit_price"] > 0) & (orders["kind"] == SALE) & orders["description"].notna()]
    is_service = priced["sku"].isin(SERVICE_CODES) | priced["sku"].str.startswith("gift_")
    priced = priced[~is_service]
    name = priced["description"].str.split().str.join(" ")
    names = pd.DataFrame({"sku": priced["sku"], "product_name": name}).value_counts().reset_index()
    names = names.sort_values(["sku", "count", "product_name"], ascending=[True, False, True]).drop_duplicates("sku")
    # Without a customer the price is the consumer site's, value-added tax included: list prices come from invoiced customers.
    invoiced = priced[priced["customer"].notna()]
    listed = pd.concat([invoiced, priced[~priced["sku"].isin(invoiced["sku"])]])
    prices = listed.groupby(["sku", "unit_price"]).size().reset_index(name="lines")
    prices = prices.sort_values(["sku", "lines", "unit_price"], ascending=[True, False, False]).drop_duplicates("sku")
    products = names[["sku", "product_name"]].merge(prices[["sku", "unit_price"]], on="sku").sort_values("sku").reset_index(drop=True)
    sold = priced.groupby("sku")["day"].agg(["min", "max"]).reindex(products["sku"])
    products["category"] = [category(text) for text in products["product_name"]]
    products["unit_of_measure"] = "each"
    products["unit_cost"] = [
        max(0.01, round(price * (0.42 + 0.28 * fraction(SEED, "cost", sku)), 4))
        for sku, price in zip(products["sku"], products["unit_price"], strict=True)
    ]
    products["case_pack_units"] = [case_pack(sku, price) for sku, price in zip(products["sku"], products["unit_price"], strict=True)]
    products["shelf_life_days"] = None
    first = sold["min"].to_numpy()
    products["launched_date"] = [as_date(day) if day > LAUNCH_AFTER_DAYS else None for day in first]
    products["is_active"] = sold["max"].to_numpy() > orders["day"].max() - 182
    return products


def category(product_name: str) -> str:
    """Return the merchandise group that the last telling word of a description names, 'other' without one."""
    for word in reversed(product_name.upper().replace(",", " ").replace("/", " ").split()):
        group = GROUP_OF_WORD.get(word)
        if group is not None:
            return group
    return "other"


def case_pack(sku: str, unit_price: float) -> int:
    """Return the units of a case: cheap things come by the dozens, dear ones singly."""
    choices: Sequence[int]
    if unit_price < 0.5:
        choices = (24, 36, 48)
    elif unit_price < 1.5:
        choices = (12, 12, 24)
    elif unit_price < 4:
        choices = (6, 8, 12)
    elif unit_price < 10:
        choices = (2, 4, 6)
    else:
        choices = (1, 1, 2)
    return choices[int(fraction(SEED, "case", sku) * len(choices))]


# --- what the simulator is given --------------------------------------------------------------------------------------


def lead_time_ratios(source: Path) -> list[float]:
    """Return real lead times as multiples of their vendor's median, clipped, sorted; vendors with at least ten known ones."""
    deliveries = pd.read_csv(source, encoding="latin-1", usecols=["vendor", "po sent to vendor date", "delivered to client date"])
    sent = pd.to_datetime(deliveries["po sent to vendor date"], errors="coerce", format="mixed")
    delivered = pd.to_datetime(deliveries["delivered to client date"], errors="coerce", format="mixed")
    deliveries["days"] = (delivered - sent).dt.days
    known = deliveries[deliveries["days"] > 0]
    by_vendor = known.groupby("vendor")["days"]
    ratio = (known["days"] / by_vendor.transform("median"))[by_vendor.transform("size") >= 10]
    return sorted(ratio.clip(*RATIO_CLIP).round(4).tolist())


@dataclass(frozen=True)
class Supplier:
    """One invented supplier."""

    supplier_id: str
    lead_time_days: int
    review_period_days: int
    weekdays: frozenset[int]


class World:
    """What all series share: the clock, the suppliers and the draws of an order that all its lines have in common."""

    def __init__(self, clock: Clock, ratios: Sequence[float], end_second: int, end_day: int) -> None:
        self.clock = clock
        self.ratios = ratios
        self.end_second = end_second
        self.end_day = end_day
        self._ratio: dict[tuple[str, str, int], float] = {}
        self._minute: dict[tuple[str, str, int], int] = {}

    def order_ratio(self, supplier_id: str, location_id: str, day: int) -> float:
        """Return the lead-time ratio that the lines of one purchase order share."""
        key = (supplier_id, location_id, day)
        if key not in self._ratio:
            self._ratio[key] = generator("ratio", *key).choice(self.ratios)
        return self._ratio[key]

    def arrival_second(self, supplier_id: str, location_id: str, day: int) -> int:
        """Return when the lorry of a supplier calls at a depot on a day, 07:00 to 14:59."""
        key = (supplier_id, location_id, day)
        if key not in self._minute:
            self._minute[key] = generator("lorry", *key).randrange(420, 900)
        return self.clock.at(day, self._minute[key])

    def lead_time_days(self, supplier: Supplier, location_id: str) -> int:
        """Return the agreed days from order to shelf: two more across the sea, 28 at most."""
        return min(28, supplier.lead_time_days + (2 if location_id == "EUR" else 0))


@dataclass
class Planting:
    """One record error: as planned, then as planted."""

    kind: str
    on: str
    wanted_size: str
    not_before: int
    partner: str | None = None
    occurred_second: int = -1
    source: str = ""
    document: str = ""
    line: int = 0
    true_units: int = 0
    recorded_units: int = 0
    error_units: int = 0
    corrected_second: int = -1
    purchase_key: tuple[str, str, int, str] | None = None
    row: int = -1
    mirror_of: Planting | None = None


@dataclass
class Series:
    """One sku at one depot, as the simulator is given it. Events are (second, kind, row, units, target row), in order."""

    sku: str
    location_id: str
    supplier: Supplier
    moq_units: int
    multiple_units: int
    list_day: int
    plan_rate: float
    opening_units: int
    mean_daily_units: float
    count_every_days: int
    events: list[tuple[int, int, int, int, int]]
    planned: list[Planting] = field(default_factory=list)
    foreign: list[tuple[int, str, int, Any]] = field(default_factory=list)
    cancelled_rows: frozenset[int] = frozenset()


@dataclass(eq=False)
class PurchaseLine:
    """One purchase order line while the simulation runs."""

    supplier_id: str
    sku: str
    location_id: str
    ordered_day: int
    ordered_units: int
    expected_day: int
    received_units: int = 0
    received_second: int = -1
    pending: int = 0
    status: str = "open"

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Supplier, depot and day name the order; the sku names its line."""
        return (self.supplier_id, self.location_id, self.ordered_day, self.sku)


@dataclass
class Receipt:
    """One receipt as the warehouse wrote it down."""

    key: tuple[str, str, int, str]
    sku: str
    location_id: str
    second: int
    recorded_second: int
    revision: int
    units: int
    copy: int = 0


@dataclass
class Outcome:
    """What the simulation of one series gives back."""

    served: dict[int, int] = field(default_factory=dict)
    cancelled: dict[int, int] = field(default_factory=dict)
    unrecorded: set[int] = field(default_factory=set)
    swapped: dict[int, str] = field(default_factory=dict)
    doubled: list[tuple[int, int]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    purchases: list[PurchaseLine] = field(default_factory=list)
    days: list[tuple[int, int, int]] = field(default_factory=list)
    plantings: list[Planting] = field(default_factory=list)
    handed_over: list[tuple[str, int, str, int, Any]] = field(default_factory=list)
    refused: list[Planting] = field(default_factory=list)
    recorded_units: int = 0
    physical_units: int = 0


def size_of(error_units: float, mean_daily_units: float) -> str:
    """Return the size class of an error in days of mean demand."""
    days = abs(error_units) / max(mean_daily_units, 1e-9)
    return SIZES[int(days > SIZE_EDGES[0]) + int(days > SIZE_EDGES[1])]


def swap_digits(units: int) -> int | None:
    """Return the units with the first two different neighbouring digits exchanged; None where no exchange changes them."""
    text = str(units)
    for place in range(len(text) - 1):
        if text[place] != text[place + 1]:
            return int(text[:place] + text[place + 1] + text[place] + text[place + 2 :])
    return None


# --- the simulator ---------------------------------------------------------------------------------------------------

# At one instant orders come first, then what the warehouse writes, then counts, then the buyer.
RANK_SOURCE, RANK_WAREHOUSE, RANK_COUNT, RANK_REVIEW = range(4)


class Simulation:
    """Run one series through the year; physical and recorded stock are kept apart.

    Physical stock follows what happened, recorded stock what was written down. Customers are served from physical stock in the order in
    which they came, partly where it is short. The buyer sees recorded stock and past recorded sales alone.
    """

    def __init__(self, series: Series, world: World) -> None:
        self.series = series
        self.world = world
        self.random = generator("series", series.sku, series.location_id)
        self.outcome = Outcome()
        self.physical = 0
        self.recorded = 0
        self.last_count = -1
        self.count_is_due = False
        self.sales = [0] * (world.end_day + 1)
        self.squares = [0] * (world.end_day + 1)
        self.open_lines: list[PurchaseLine] = []
        self.uncorrected: list[Planting] = []
        self.day_of_row: dict[int, int] = {}
        self.planned = sorted(series.planned, key=lambda planting: planting.not_before)
        self.heap: list[tuple[int, int, int, str, Any]] = []
        self.sequence = 0
        self.lead_time_days = world.lead_time_days(series.supplier, series.location_id)

    def push(self, second: int, rank: int, action: str, payload: Any) -> None:
        """Schedule an action; nothing after the last invoice is simulated."""
        if second <= self.world.end_second:
            self.sequence += 1
            heapq.heappush(self.heap, (second, rank, self.sequence, action, payload))

    def run(self) -> Outcome:
        """Simulate the year and return what was served, recorded, ordered and counted."""
        series, world, clock = self.series, self.world, self.world.clock
        for event in series.events:
            self.push(event[0], RANK_SOURCE, "source", event)
        for second, kind, units, payload in series.foreign:
            self.push(second, RANK_WAREHOUSE, "foreign", (kind, units, payload))
        self.open_stock()
        self.schedule_counts()
        supplier = series.supplier
        for day in range(series.list_day, world.end_day + 1):
            weekday = (FIRST_DAY.weekday() + day) % 7
            if clock.is_open(day) and (weekday in supplier.weekdays or (not supplier.weekdays and weekday < 5)):
                self.push(clock.at(day, 1260), RANK_REVIEW, "review", day)
        today = -1
        while self.heap:
            second, _, _, action, payload = heapq.heappop(self.heap)
            if second >= self.day_ends(today):
                self.close_day(today)
                today = clock.day_of(second)
            getattr(self, f"on_{action}")(second, today, payload)
        self.close_day(today)
        self.outcome.recorded_units, self.outcome.physical_units = self.recorded, self.physical
        return self.outcome

    def day_ends(self, day: int) -> int:
        """Return the second at which a day is over."""
        return self.world.clock.at(day, 720) + 43200 if day >= 0 else -1

    def close_day(self, day: int) -> None:
        """Note both stocks at the end of a day on which either changed."""
        days = self.outcome.days
        if day >= 0 and (not days or days[-1][1:] != (self.physical, self.recorded)):
            days.append((day, self.physical, self.recorded))

    # -- stock on the first day

    def open_stock(self) -> None:
        """Count the opening stock, or order the first lot of a product that is launched later."""
        series, clock = self.series, self.world.clock
        if series.list_day == 0:
            midnight = datetime(*FIRST_DAY.timetuple()[:3], tzinfo=ZoneInfo(zone_of(series.location_id)))
            self.physical = self.recorded = series.opening_units
            self.last_count = int(midnight.timestamp())
            self.outcome.counts.append((self.last_count, series.opening_units))
        elif series.opening_units > 0:
            ratio = self.world.order_ratio(series.supplier.supplier_id, series.location_id, series.list_day)
            ordered = series.list_day - max(2, round(self.lead_time_days * ratio))
            while not clock.is_open(ordered):
                ordered -= 1
            self.place_order(ordered, series.opening_units, first_arrival=series.list_day)

    def schedule_counts(self) -> None:
        """Spread the cycle counts of the year, on working days, from 08:00 to 17:59."""
        every = self.series.count_every_days
        day = self.series.list_day + 1 + self.random.randrange(every)
        while day <= self.world.end_day:
            working = self.world.clock.next_delivery_day(day)
            self.push(self.world.clock.at(working, self.random.randrange(480, 1080)), RANK_COUNT, "count", None)
            day += every + self.random.randrange(-every // 8, every // 8 + 1)

    def ask_for_count(self, day: int, soonest: int, latest: int) -> None:
        """Have the shelf counted within some days, unless somebody already asked."""
        if not self.count_is_due:
            self.count_is_due = True
            working = self.world.clock.next_delivery_day(day + self.random.randint(soonest, latest))
            self.push(self.world.clock.at(working, self.random.randrange(480, 1080)), RANK_COUNT, "count", None)

    # -- events

    def on_source(self, second: int, day: int, event: tuple[int, int, int, int, int]) -> None:
        """Serve, cancel, take back or correct, as the invoice line says."""
        _, kind, row, units, target = event
        outcome = self.outcome
        if kind == SALE:
            self.serve(second, day, row, units)
        elif kind == CANCELLATION:
            already = outcome.cancelled.get(target, 0)
            taken = min(units, outcome.served.get(target, 0) - already)
            outcome.cancelled[target] = already + taken
            outcome.cancelled[row] = taken
            self.physical += taken
            self.recorded += taken
            self.note_sale(self.day_of_row[target], -taken)
        elif kind == RETURN:
            self.physical += units
            self.recorded += units
        else:
            taken = min(units, self.physical)
            self.physical -= taken
            self.recorded -= units
            if taken < units:
                excess = Planting("excess_correction", "correction", "", second, occurred_second=second, row=row)
                excess.true_units, excess.recorded_units, excess.error_units = -taken, -units, units - taken
                self.keep(excess)
        if self.recorded < 0:
            self.ask_for_count(day, 2, 10)

    def serve(self, second: int, day: int, row: int, units: int) -> None:
        """Serve an order line from physical stock and write the sale down, unless a planted error spoils the record."""
        outcome = self.outcome
        self.day_of_row[row] = day
        served = min(units, self.physical)
        if served < units and self.recorded >= units and self.random.random() < 0.3:
            self.ask_for_count(day, 5, 20)
        if served <= 0:
            return
        self.physical -= served
        outcome.served[row] = served
        planting = self.planting_for("sale", second, served) if row not in self.series.cancelled_rows else None
        if planting is None:
            self.recorded -= served
            self.note_sale(day, served)
            return
        planting.row, planting.true_units, planting.error_units = row, -served, served
        if planting.kind == "double_posted":
            planting.recorded_units = -2 * served
            self.recorded -= 2 * served
            self.note_sale(day, 2 * served)
            outcome.doubled.append((row, served))
        elif planting.kind == "swapped_code":
            planting.recorded_units = 0
            outcome.swapped[row] = planting.partner or ""
            outcome.handed_over.append((planting.partner or "", second, "sale", served, planting))
        else:
            planting.recorded_units = 0
            outcome.unrecorded.add(row)
        self.keep(planting)

    def note_sale(self, day: int, units: int) -> None:
        """Add recorded units to the sales of a day, which is all the buyer sees of demand."""
        self.sales[day] += units
        self.squares[day] = self.sales[day] ** 2

    def on_foreign(self, second: int, day: int, payload: tuple[str, int, Any]) -> None:
        """Take a movement of another sku that was recorded under this one."""
        kind, units, planting = payload
        if kind == "receipt":
            self.recorded += units
        elif self.physical < units:
            # A sale of more than lies here would be noticed at the shelf: it stays off the record altogether.
            self.outcome.refused.append(planting)
            return
        else:
            self.recorded -= units
            self.note_sale(day, units)
            if self.recorded < 0:
                self.ask_for_count(day, 2, 10)
        signed = units if kind == "receipt" else -units
        mirror = replace(planting, partner=None, true_units=0, recorded_units=signed, mirror_of=planting, corrected_second=-1)
        self.keep(mirror)

    def on_arrival(self, second: int, day: int, payload: tuple[PurchaseLine, int]) -> None:
        """Put a delivery on the shelf and write the receipt."""
        line, units = payload
        line.pending -= 1
        self.physical += units
        base = {"key": line.key, "sku": line.sku, "location_id": line.location_id, "second": second}
        planting = self.planting_for("receipt", second, units)
        if planting is not None:
            self.spoil_receipt(planting, line, units, second, base)
        elif self.random.random() < LATE_RECORD_SHARE:
            recorded = self.world.clock.at(self.world.clock.next_delivery_day(day + self.random.randint(1, 2)), 600)
            if recorded <= self.world.end_second:
                self.push(recorded, RANK_WAREHOUSE, "late_record", (line, units, second))
                self.outcome.receipts.append(Receipt(**base, recorded_second=recorded, revision=0, units=units))
            else:
                self.write_receipt(line, units, second, base)
        elif self.random.random() < REVISED_RECEIPT_SHARE and second + 93600 <= self.world.end_second and swap_digits(units):
            wrong = swap_digits(units) or units
            self.write_receipt(line, wrong, second, base)
            mended = second + 86400
            self.outcome.receipts.append(Receipt(**base, recorded_second=mended, revision=1, units=units))
            self.push(mended, RANK_WAREHOUSE, "late_record", (line, units - wrong, second))
        else:
            self.write_receipt(line, units, second, base)

    def write_receipt(self, line: PurchaseLine, units: int, second: int, base: dict[str, Any]) -> None:
        """Record a receipt within the hour."""
        self.recorded += units
        self.book(line, units, second)
        minutes = 5 + self.random.randrange(50)
        recorded = min(second + 60 * minutes, self.world.end_second)
        self.outcome.receipts.append(Receipt(**base, recorded_second=recorded, revision=0, units=units))

    def book(self, line: PurchaseLine, units: int, second: int) -> None:
        """Count recorded units against the purchase order line."""
        line.received_units += units
        line.received_second = max(line.received_second, second)
        line.status = "received" if line.received_units >= line.ordered_units else "partly_received"
        if line.status == "received" and line in self.open_lines:
            self.open_lines.remove(line)

    def on_late_record(self, second: int, day: int, payload: tuple[PurchaseLine, int, int]) -> None:
        """Learn of a receipt, or of its correction, after the day; a count in between already saw it."""
        line, units, occurred = payload
        if self.last_count < occurred:
            self.recorded += units
        self.book(line, units, occurred)

    def spoil_receipt(self, planting: Planting, line: PurchaseLine, units: int, second: int, base: dict[str, Any]) -> None:
        """Write a receipt down wrongly, or not at all."""
        planting.purchase_key, planting.true_units = line.key, units
        if planting.kind == "lost":
            planting.recorded_units, planting.error_units = 0, units
        elif planting.kind == "double_posted":
            planting.recorded_units, planting.error_units = 2 * units, units
            self.write_receipt(line, units, second, base)
            self.write_receipt(line, units, second, {**base, "copy": 1})
        elif planting.kind == "swapped_code":
            planting.recorded_units, planting.error_units = 0, units
            self.outcome.handed_over.append((planting.partner or "", second, "receipt", units, planting))
            self.outcome.receipts.append(Receipt(**{**base, "sku": planting.partner}, recorded_second=second, revision=0, units=units))
            self.book(line, units, second)
        else:
            wrong = self.mis_key(planting, units)
            planting.recorded_units, planting.error_units = wrong, abs(wrong - units)
            self.write_receipt(line, wrong, second, base)
        self.keep(planting)

    def mis_key(self, planting: Planting, units: int) -> int:
        """Return the units as mis-keyed: ten times for a large error, else two digits exchanged."""
        swapped = swap_digits(units)
        return units * 10 if swapped is None or planting.wanted_size == "large" else swapped

    def on_count(self, second: int, day: int, _: None) -> None:
        """Count the shelf; the count becomes the recorded stock and mends what was wrong before."""
        self.count_is_due = False
        counted = self.physical
        planting = self.planting_for("count", second, counted)
        if planting is not None:
            counted = self.mis_key(planting, self.physical)
        for earlier in self.uncorrected:
            earlier.corrected_second = second
        self.uncorrected = []
        if planting is not None:
            planting.true_units, planting.recorded_units = self.physical, counted
            planting.error_units = abs(counted - self.physical)
            self.keep(planting)
        self.recorded = counted
        self.last_count = second
        self.outcome.counts.append((second, counted))

    def planting_for(self, on: str, second: int, units: int) -> Planting | None:
        """Return the planned error that this event can carry with the wanted size, and take it off the plan."""
        for place, planting in enumerate(self.planned):
            if planting.not_before > second:
                return None
            if planting.on != on or units <= 0:
                continue
            error = units
            if planting.kind == "mis_keyed":
                error = abs(self.mis_key(planting, units) - units)
            if planting.kind == "double_posted" and on == "sale" and self.physical < units:
                continue
            if size_of(error, self.series.mean_daily_units) == planting.wanted_size:
                del self.planned[place]
                planting.occurred_second = second
                return planting
        return None

    def keep(self, planting: Planting) -> None:
        """Enter an error in the truth; the next count corrects it."""
        self.outcome.plantings.append(planting)
        self.uncorrected.append(planting)

    # -- the buyer

    def on_review(self, second: int, day: int, _: int) -> None:
        """Order up to the maximum when the recorded position has fallen to the minimum."""
        series = self.series
        for line in list(self.open_lines):
            if line.pending == 0 and day > line.expected_day + GIVE_UP_DAYS:
                line.status = "cancelled"
                self.open_lines.remove(line)
        mean, deviation = self.estimate(day)
        protection = self.lead_time_days + series.supplier.review_period_days
        minimum = max(1.0, mean * protection + RULE_SAFETY_FACTOR * deviation * protection**0.5)
        position = self.recorded + sum(line.ordered_units - line.received_units for line in self.open_lines)
        if position < minimum:
            wanted = max(minimum + mean * RULE_COVER_DAYS - position, series.moq_units)
            self.place_order(day, int(-(-wanted // series.multiple_units)) * series.multiple_units)

    def estimate(self, day: int) -> tuple[float, float]:
        """Return mean and standard deviation of daily demand, from recorded sales so far and the opening plan before there are enough."""
        known = min(day - self.series.list_day + 1, RULE_WINDOW_DAYS)
        window = slice(day - known + 1, day + 1)
        total, squares = sum(self.sales[window]), sum(self.squares[window])
        missing = RULE_WINDOW_DAYS - known
        mean = max(0.0, (total + missing * self.series.plan_rate) / RULE_WINDOW_DAYS)
        second_moment = (squares + missing * (self.series.plan_rate**2 * 4 + self.series.plan_rate)) / RULE_WINDOW_DAYS
        return mean, max(second_moment - mean * mean, mean) ** 0.5

    def place_order(self, day: int, units: int, first_arrival: int | None = None) -> None:
        """Order from the supplier; the delivery date is drawn now and known to nobody."""
        series, clock, world = self.series, self.world.clock, self.world
        supplier_id, location_id = series.supplier.supplier_id, series.location_id
        line = PurchaseLine(supplier_id, series.sku, location_id, day, units, day + self.lead_time_days)
        self.outcome.purchases.append(line)
        self.open_lines.append(line)
        if first_arrival is None:
            if self.random.random() < SUPPLIER_CANCELS_SHARE:
                return
            ratio = world.order_ratio(supplier_id, location_id, day)
            if self.random.random() < OWN_LEAD_TIME_SHARE:
                ratio = self.random.choice(world.ratios)
            first_arrival = clock.next_delivery_day(day + max(2, round(self.lead_time_days * ratio)))
        parts = [(first_arrival, units)]
        packs = units // series.multiple_units
        if packs >= 2 and self.random.random() < PARTIAL_RECEIPT_SHARE:
            first = max(1, int(packs * self.random.uniform(0.3, 0.8))) * series.multiple_units
            rest_day = clock.next_delivery_day(first_arrival + self.random.randint(3, 14))
            parts = [(first_arrival, first), (rest_day, units - first)]
        for arrival, part in parts:
            line.pending += 1
            self.push(world.arrival_second(supplier_id, location_id, arrival), RANK_WAREHOUSE, "arrival", (line, part))


def zone_of(location_id: str) -> str:
    """Return the time zone of a depot."""
    return str(LOCATIONS.set_index("location_id").at[location_id, "time_zone"])


# --- from orders to series -------------------------------------------------------------------------------------------


def supplier_of(sku: str, suppliers: Sequence[tuple[str, str, int, int, int, str, int, int]]) -> str:
    """Return the supplier of a sku; the variants of one article, as in 85099B and 85099C, share it."""
    digits = "".join(sign for sign in sku if sign.isdigit())
    place = fraction(SEED, "supplier", digits or sku) * sum(supplier[2] for supplier in suppliers)
    for supplier in suppliers:
        place -= supplier[2]
        if place < 0:
            return supplier[0]
    return suppliers[-1][0]


def make_series(orders: pd.DataFrame, products: pd.DataFrame, world: World) -> list[Series]:
    """Return one series per sku and depot with any line, with all the simulator is given about it."""
    suppliers = {
        row[0]: Supplier(row[0], row[3], row[4], frozenset(WEEKDAYS.index(name) for name in row[5].split())) for row in SUPPLIERS
    }
    case_packs = dict(zip(products["sku"], products["case_pack_units"], strict=True))
    stocked = orders[orders["sku"].isin(case_packs)].sort_values(["sku", "location_id", "second"], kind="stable")
    sold = stocked[stocked["kind"] == SALE]
    launch_day = sold.groupby("sku")["day"].min().to_dict()
    net = stocked["quantity"].where(stocked["kind"].isin([SALE, CANCELLATION]), 0)
    series = []
    for (sku, location_id), lines in stocked.groupby(["sku", "location_id"], sort=True):
        draw = generator("given", sku, location_id)
        first = launch_day[sku]
        list_day = 0
        if first > LAUNCH_AFTER_DAYS:
            list_day = world.clock.next_delivery_day(max(1, first - 3 - generator("launch", sku).randrange(12)))
            # Over the Easter and Christmas closures the next delivery day can fall behind the first order.
            while list_day > first or not world.clock.is_open(list_day) or as_date(list_day).weekday() > 4:
                list_day -= 1
        is_early = (lines["kind"] == SALE) & (lines["day"] < list_day + OPENING_PLAN_DAYS)
        early_units = float(lines["quantity"][is_early].clip(upper=240).sum())
        plan_rate = draw.lognormvariate(0.0, 0.5) * (early_units + 1.0) / OPENING_PLAN_DAYS
        multiple = int(case_packs[sku])
        wanted = plan_rate * draw.uniform(40, 100)
        opening = int(-(-wanted // multiple)) * multiple
        if list_day == 0 and wanted < multiple / 2 and draw.random() < 0.2:
            opening = 0
        elif list_day == 0:
            opening = max(0, opening - draw.randrange(multiple))
        mean = max(0.0, float(net[lines.index].sum())) / (world.end_day - list_day + 1)
        every = 75 if mean >= 1 else 120 if mean >= 0.1 else 200
        events = list(
            zip(
                lines["second"].tolist(), lines["kind"].tolist(), lines.index.tolist(), lines["quantity"].abs().tolist(), lines["target"].tolist(),
                strict=True,
            )
        )  # fmt: skip
        series.append(
            Series(
                sku=sku, location_id=location_id, supplier=suppliers[supplier_of(sku, SUPPLIERS)],
                moq_units=multiple * (1 + int(3 * fraction(SEED, "moq", sku))), multiple_units=multiple, list_day=list_day,
                plan_rate=plan_rate, opening_units=opening, mean_daily_units=mean, count_every_days=every, events=events,
                cancelled_rows=frozenset(lines["target"][lines["target"] >= 0]),
            )
        )  # fmt: skip
    return series


def plan_errors(series: Sequence[Series], world: World) -> None:
    """Plan the record errors: which series, of what kind and size, and from when on."""
    draw = generator("plantings")
    by_key = {(one.sku, one.location_id): one for one in series}
    skus = {location: sorted({one.sku for one in series if one.location_id == location}) for location in set(LOCATIONS["location_id"])}
    able = [one for one in series if one.mean_daily_units >= 0.4 and world.end_day - one.list_day >= 120]
    sources: set[tuple[str, str]] = set()
    partners: set[tuple[str, str]] = set()
    for one in draw.sample(able, min(PLANTINGS, len(able))):
        kind = draw.choices(("lost", "double_posted", "mis_keyed", "swapped_code"), (24, 22, 38, 16))[0]
        if kind == "mis_keyed":
            on = draw.choices(("receipt", "count"), (60, 40))[0]
            size = draw.choice(SIZES)
        else:
            size = draw.choices(SIZES, (33, 40, 27))[0]
            on = "sale" if size == "small" else draw.choices(("sale", "receipt"), (75, 25) if size == "medium" else (40, 60))[0]
        not_before = world.clock.at(draw.randint(one.list_day + 10, world.end_day - 45), 720)
        planting = Planting(kind, on, size, not_before)
        key = (one.sku, one.location_id)
        if kind == "swapped_code":
            place = skus[one.location_id].index(one.sku)
            near = [sku for sku in skus[one.location_id][max(0, place - 3) : place + 4] if sku != one.sku]
            near = [sku for sku in near if (sku, one.location_id) not in sources and by_key[sku, one.location_id].list_day <= one.list_day]
            if key in partners or not near:
                continue
            planting.partner = draw.choice(near)
            sources.add(key)
            partners.add((planting.partner, one.location_id))
        one.planned.append(planting)


def simulate(series: Sequence[Series], world: World) -> dict[tuple[str, str], Outcome]:
    """Run all series; those that hand movements over to another sku run before the others."""
    by_key = {(one.sku, one.location_id): one for one in series}
    hands_over = [one for one in series if any(planting.kind == "swapped_code" for planting in one.planned)]
    first = {(one.sku, one.location_id) for one in hands_over}
    outcomes: dict[tuple[str, str], Outcome] = {}
    for one in [*hands_over, *(one for one in series if (one.sku, one.location_id) not in first)]:
        outcome = outcomes[one.sku, one.location_id] = Simulation(one, world).run()
        for partner, second, kind, units, planting in outcome.handed_over:
            by_key[partner, one.location_id].foreign.append((second, kind, units, planting))
        for planting in outcome.refused:
            planting.kind = "lost"
    return {key: outcomes[key] for key in by_key}


# --- the tables ------------------------------------------------------------------------------------------------------


def instants(seconds: Iterable[int]) -> pd.Series:
    """Return UTC seconds as timestamps."""
    return pd.Series(pd.to_datetime(np.asarray(list(seconds), dtype="int64"), unit="s", utc=True))


def purchase_orders(outcomes: dict[tuple[str, str], Outcome], world: World) -> tuple[pd.DataFrame, dict[tuple[str, str, int, str], tuple[str, int]]]:
    """Return the purchase order lines of the contract and the identity of each by its key."""
    lines = sorted((line for outcome in outcomes.values() for line in outcome.purchases), key=lambda line: line.key)
    identity: dict[tuple[str, str, int, str], tuple[str, int]] = {}
    last: dict[str, int] = defaultdict(int)
    for line in lines:
        order = f"PO{as_date(line.ordered_day):%y%m%d}-{line.supplier_id}-{line.location_id}"
        last[order] += 1
        identity[line.key] = (order, last[order])
    ordered = [world.clock.at(line.ordered_day, 1260) for line in lines]
    confirmed = [world.clock.at(world.clock.next_delivery_day(line.ordered_day + 1), 600) for line in lines]
    received = [line.received_second for line in lines]
    frame = pd.DataFrame(
        {
            "purchase_order_id": [identity[line.key][0] for line in lines],
            "line": [identity[line.key][1] for line in lines],
            "supplier_id": [line.supplier_id for line in lines],
            "sku": [line.sku for line in lines],
            "location_id": [line.location_id for line in lines],
            "ordered_at": instants(ordered),
            "confirmed_at": instants(confirmed).where(np.asarray(confirmed) <= world.end_second),
            "expected_date": [as_date(line.expected_day) for line in lines],
            "ordered_units": [line.ordered_units for line in lines],
            "received_units": [line.received_units for line in lines],
            "received_at": instants(received).where(np.asarray(received) >= 0),
            "status": [line.status for line in lines],
            "proposal_id": None,
        }
    )
    return frame, identity


def order_movements(orders: pd.DataFrame, truth: pd.DataFrame, outcomes: dict[tuple[str, str], Outcome]) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the movements the invoices became, and the documents under which doubled sales were posted again, by row."""
    unrecorded = {row for outcome in outcomes.values() for row in outcome.unrecorded}
    unrecorded |= {planting.row for outcome in outcomes.values() for planting in outcome.refused}
    swapped = {row: sku for outcome in outcomes.values() for row, sku in outcome.swapped.items()}
    doubled = sorted(row for outcome in outcomes.values() for row, _ in outcome.doubled)
    kind = orders["kind"].to_numpy()
    served = truth["served_units"].to_numpy()
    taken = truth["taken_units"].to_numpy()
    quantity = orders["quantity"].to_numpy()
    change = np.select([kind == SALE, kind == CANCELLATION, kind == RETURN], [-served, taken, -quantity], quantity)
    text = orders["description"].fillna("").str.strip()
    is_damage = text.str.lower().str.contains("|".join(DAMAGE_WORDS))
    names = np.select([kind == SALE, kind == CANCELLATION, kind == RETURN], ["sale", "cancellation", "return"], np.where(is_damage, "write_off", "adjustment"))
    target = orders["target"].to_numpy()
    document, line = orders["document"].to_numpy(), orders["line"].to_numpy()
    movements = pd.DataFrame(
        {
            "source": "shop",
            "document": document,
            "line": line,
            "revision": 0,
            "occurred_at": orders["second"],
            "recorded_at": orders["second"],
            "sku": orders["sku"],
            "location_id": orders["location_id"],
            "movement_type": names,
            "quantity_units": change,
            "unit_price": orders["unit_price"].where(kind != CORRECTION),
            "reference": [f"shop:{document[row]}:{line[row]}" if row >= 0 else None for row in target],
            "reason": text.where((kind == CORRECTION) & (text != ""), None),
        }
    )
    for row, sku in swapped.items():
        movements.loc[row, "sku"] = sku
    numbers = {int(name.lstrip("CA")) for name in document}
    copies = {}
    for row in doubled:
        number = int(document[row]) + 1
        while number in numbers:
            number += 1
        numbers.add(number)
        copies[row] = str(number)
    again = movements.loc[doubled].assign(document=[copies[row] for row in doubled])
    is_written = (change != 0) & ~movements.index.isin(unrecorded)
    return pd.concat([movements[is_written], again], ignore_index=True), copies


def receipt_movements(
    outcomes: dict[tuple[str, str], Outcome], identity: dict[tuple[str, str, int, str], tuple[str, int]], world: World
) -> tuple[pd.DataFrame, dict[tuple[tuple[str, str, int, str], int, int], tuple[str, int]]]:
    """Return the receipts as movements and the document and line of each by purchase line, second and copy."""
    receipts = [receipt for outcome in outcomes.values() for receipt in outcome.receipts]
    posted: dict[tuple[tuple[str, str, int, str], int, int], tuple[str, int]] = {}
    last: dict[str, int] = defaultdict(int)
    for receipt in sorted(receipts, key=lambda receipt: (receipt.second, receipt.key, receipt.copy, receipt.revision)):
        place = (receipt.key, receipt.second, receipt.copy)
        if place not in posted:
            day = as_date(world.clock.day_of(receipt.second))
            note = f"GR{day:%y%m%d}-{receipt.key[0]}-{receipt.location_id}" + ("-2" if receipt.copy else "")
            last[note] += 1
            posted[place] = (note, last[note])
    documents = [posted[receipt.key, receipt.second, receipt.copy] for receipt in receipts]
    return pd.DataFrame(
        {
            "source": "wms",
            "document": [document for document, _ in documents],
            "line": [line for _, line in documents],
            "revision": [receipt.revision for receipt in receipts],
            "occurred_at": [receipt.second for receipt in receipts],
            "recorded_at": [receipt.recorded_second for receipt in receipts],
            "sku": [receipt.sku for receipt in receipts],
            "location_id": [receipt.location_id for receipt in receipts],
            "movement_type": "receipt",
            "quantity_units": [receipt.units for receipt in receipts],
            "unit_price": np.nan,
            "reference": ["{}:{}".format(*identity[receipt.key]) for receipt in receipts],
            "reason": None,
        }
    ), posted


def count_movements(outcomes: dict[tuple[str, str], Outcome], world: World) -> tuple[pd.DataFrame, dict[tuple[str, str, int], tuple[str, int]]]:
    """Return opening and cycle counts as movements and the document and line of each by sku, depot and second."""
    counts = sorted((second, location, sku, units) for (sku, location), outcome in outcomes.items() for second, units in outcome.counts)
    posted: dict[tuple[str, str, int], tuple[str, int]] = {}
    last: dict[str, int] = defaultdict(int)
    opening = {int(datetime(*FIRST_DAY.timetuple()[:3], tzinfo=ZoneInfo(zone)).timestamp()) for zone in LOCATIONS["time_zone"]}
    for second, location, sku, _ in counts:
        sheet = f"OPEN-{location}" if second in opening else f"CC{as_date(world.clock.day_of(second)):%y%m%d}-{location}"
        last[sheet] += 1
        posted[sku, location, second] = (sheet, last[sheet])
    return pd.DataFrame(
        {
            "source": "wms",
            "document": [posted[sku, location, second][0] for second, location, sku, _ in counts],
            "line": [posted[sku, location, second][1] for second, location, sku, _ in counts],
            "revision": 0,
            "occurred_at": [second for second, *_ in counts],
            "recorded_at": [second for second, *_ in counts],
            "sku": [sku for _, _, sku, _ in counts],
            "location_id": [location for _, location, _, _ in counts],
            "movement_type": "count",
            "quantity_units": [units for *_, units in counts],
            "unit_price": np.nan,
            "reference": None,
            "reason": ["opening stock" if second in opening else None for second, *_ in counts],
        }
    ), posted


def order_truth(orders: pd.DataFrame, outcomes: dict[tuple[str, str], Outcome], stocked: set[str]) -> pd.DataFrame:
    """Return, row by row of the source, what was ordered, served and cancelled.

    Columns: ordered_units, served_units, cancelled_units (of an order, by its credit notes), cancelled_served_units (of those, what had been
    served), taken_units (what a cancellation took back).
    """
    size = len(orders)
    kind, quantity, target = (orders[name].to_numpy() for name in ("kind", "quantity", "target"))
    is_stocked = orders["sku"].isin(stocked).to_numpy()
    served = np.where((kind == SALE) & ~is_stocked, quantity, 0)
    taken = np.where((kind == CANCELLATION) & ~is_stocked, -quantity, 0)
    for outcome in outcomes.values():
        for row, units in outcome.served.items():
            served[row] = units
        for row, units in outcome.cancelled.items():
            if kind[row] == CANCELLATION:
                taken[row] = units
    cancelled, cancelled_served = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    is_cancellation = target >= 0
    np.add.at(cancelled, target[is_cancellation], -quantity[is_cancellation])
    np.add.at(cancelled_served, target[is_cancellation], taken[is_cancellation])
    return pd.DataFrame(
        {
            "ordered_units": np.where(kind == SALE, quantity, 0),
            "served_units": served,
            "cancelled_units": cancelled,
            "cancelled_served_units": cancelled_served,
            "taken_units": taken,
        }
    )


def planting_table(
    series: Sequence[Series],
    outcomes: dict[tuple[str, str], Outcome],
    orders: pd.DataFrame,
    copies: dict[int, str],
    posted_receipts: dict[tuple[tuple[str, str, int, str], int, int], tuple[str, int]],
    posted_counts: dict[tuple[str, str, int], tuple[str, int]],
    identity: dict[tuple[str, str, int, str], tuple[str, int]],
    world: World,
) -> pd.DataFrame:
    """Return the record errors as planted, one row per sku and depot whose recorded stock each made wrong."""
    mean = {(one.sku, one.location_id): one.mean_daily_units for one in series}
    entries = [(planting, key) for key, outcome in outcomes.items() for planting in outcome.plantings]
    entries.sort(key=lambda entry: (entry[0].occurred_second, entry[1], entry[0].mirror_of is not None))
    numbers: dict[int, str] = {}
    rows = []
    for planting, (sku, location_id) in entries:
        original = planting.mirror_of or planting
        number = numbers.setdefault(id(original), f"E{len(numbers) + 1:04d}")
        source, document, line, reference = "wms", None, None, None
        if planting.row >= 0:
            source, document, line = "shop", orders["document"].iat[planting.row], int(orders["line"].iat[planting.row])
            if planting.kind == "double_posted":
                document = copies[planting.row]
        elif planting.on == "count":
            document, line = posted_counts[sku, location_id, planting.occurred_second]
        elif planting.purchase_key is not None:
            place = (planting.purchase_key, planting.occurred_second, int(planting.kind == "double_posted"))
            document, line = posted_receipts.get(place, (None, None))
            reference = "{}:{}".format(*identity[planting.purchase_key])
        rows.append(
            {
                "planting_id": number,
                "kind": planting.kind,
                "movement_type": planting.on,
                "size": size_of(planting.error_units, mean[sku, location_id]),
                "sku": sku,
                "location_id": location_id,
                "occurred_at": planting.occurred_second,
                "day": as_date(world.clock.day_of(planting.occurred_second)),
                "source": source,
                "document": document,
                "line": line,
                "reference": reference,
                "true_units": planting.true_units,
                "recorded_units": planting.recorded_units,
                "error_units": planting.recorded_units - planting.true_units,
                "error_days_of_demand": round(abs(planting.recorded_units - planting.true_units) / max(mean[sku, location_id], 1e-9), 2),
                "corrected_at": planting.corrected_second,
            }
        )
    frame = pd.DataFrame(rows)
    frame["line"] = frame["line"].astype("Int64")
    frame["occurred_at"] = instants(frame["occurred_at"])
    frame["corrected_at"] = instants(frame["corrected_at"]).where(frame["corrected_at"] >= 0)
    return frame


def make_supplier_terms(series: Sequence[Series], products: pd.DataFrame, world: World) -> pd.DataFrame:
    """Return on what terms each sku comes to each depot; about one in twelve has a second, dearer and slower supplier."""
    cost = dict(zip(products["sku"], products["unit_cost"], strict=True))
    others = {row[0]: row for row in SUPPLIERS}
    rows = []
    for one in series:
        lead = world.lead_time_days(one.supplier, one.location_id)
        rows.append((one.sku, one.location_id, one.supplier.supplier_id, lead, one.moq_units, one.multiple_units, cost[one.sku], 1))
        if fraction(SEED, "second", one.sku) < 0.08:
            remaining = [row for row in SUPPLIERS if row[0] != one.supplier.supplier_id]
            second = others[supplier_of(one.sku + "2", remaining)]
            slower = min(28, second[3] + 4)
            rows.append((one.sku, one.location_id, second[0], slower, one.multiple_units, one.multiple_units, round(cost[one.sku] * 1.08, 4), 2))
    columns = ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost", "priority"]
    return pd.DataFrame(rows, columns=columns)


def make_prices(orders: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Return list prices by period: the commonest invoiced price of each month, months alike joined; and invented January offers.

    A period at most 0.85 of the price before and after it is a promotion. Only invoiced customers' lines speak, at least five a month.
    """
    lines = orders[(orders["kind"] == SALE) & orders["customer"].notna() & (orders["unit_price"] > 0) & orders["sku"].isin(products["sku"])]
    month = lines["day"].map(lambda day: as_date(day).replace(day=1)).rename("month")
    counted = lines.groupby(["sku", month, "unit_price"]).size().reset_index(name="lines")
    total = counted.groupby(["sku", "month"])["lines"].transform("sum")
    counted = counted[(total >= 5) & (counted["lines"] >= 0.5 * total)]
    best = counted.sort_values(["sku", "month", "lines", "unit_price"], ascending=[True, True, False, False]).drop_duplicates(["sku", "month"])
    rows = []
    for sku, periods in best.groupby("sku", sort=True):
        joined: list[tuple[date, float]] = []
        for start, price in zip(periods["month"], periods["unit_price"], strict=True):
            if not joined or joined[-1][1] != price:
                joined.append((start, float(price)))
        if len(joined) < 2:
            continue
        joined[0] = (FIRST_DAY, joined[0][1])
        for place, (start, price) in enumerate(joined):
            end = joined[place + 1][0] - timedelta(days=1) if place + 1 < len(joined) else CALENDAR_UNTIL
            before = joined[place - 1][1] if place else None
            after = joined[place + 1][1] if place + 1 < len(joined) else None
            is_promotion = before is not None and after is not None and price <= 0.85 * min(before, after)
            name = f"Offer {start:%B %Y}" if is_promotion else None
            rows.append([sku, None, start, end, price, is_promotion, name])
    active = products[products["is_active"]]
    offered = [sku for sku in active["sku"] if fraction(SEED, "january", sku) < 0.02]
    price_of = dict(zip(products["sku"], products["unit_price"], strict=True))
    current = {row[0]: row for row in rows if row[3] == CALENDAR_UNTIL}
    for sku in offered:
        start, end = date(2012, 1, 5), date(2012, 1, 25)
        last = current.get(sku)
        price = last[4] if last else price_of[sku]
        if last:
            last[3] = start - timedelta(days=1)
        else:
            rows.append([sku, None, FIRST_DAY, start - timedelta(days=1), price, False, None])
        rows.append([sku, None, start, end, round(price * 0.8, 2), True, "January offers 2012"])
        rows.append([sku, None, end + timedelta(days=1), CALENDAR_UNTIL, price, False, None])
    columns = ["sku", "location_id", "from_date", "to_date", "unit_price", "is_promotion", "promotion_name"]
    return pd.DataFrame(rows, columns=columns).sort_values(["sku", "from_date"]).reset_index(drop=True)


def make_calendar(clock: Clock, end_day: int) -> pd.DataFrame:
    """Return closed days of the seller, for both countries, and each country's public holidays, to the middle of 2012."""
    planned = {date.fromisoformat(day) for day in PLANNED_CLOSURES}
    rows = []
    for day in range((CALENDAR_UNTIL - FIRST_DAY).days + 1):
        when = as_date(day)
        if when.weekday() == 5 or day in clock.closed or when in planned:
            rows += [(when, country, "Closed on Saturdays" if when.weekday() == 5 else "Seller closed", "closed") for country in ("GB", "NL")]
    for country, holidays in (("GB", GB_HOLIDAYS), ("NL", NL_HOLIDAYS)):
        rows += [(date.fromisoformat(day), country, name, "holiday") for day, name in holidays.items()]
    rows += [(date.fromisoformat(day), "NL", name, "other") for day, name in NL_WORKED.items()]
    return pd.DataFrame(sorted(rows), columns=["date", "country", "event_name", "event_type"])


def make_reservations(series: Sequence[Series], outcomes: dict[tuple[str, str], Outcome], orders: pd.DataFrame, truth: pd.DataFrame, end_day: int) -> pd.DataFrame:
    """Return invented promises to customers: some of the last days' short lines wait as backorders, some stock is put aside."""
    rows = []
    short = (orders["kind"] == SALE) & (orders["day"] >= end_day - 2) & orders["customer"].notna()
    short &= (truth["ordered_units"] - truth["cancelled_units"] > truth["served_units"]) & (truth["ordered_units"] < 500)
    known = {(one.sku, one.location_id) for one in series}
    for row in orders.index[short]:
        key = (orders["sku"].iat[row], orders["location_id"].iat[row])
        if key in known and fraction(SEED, "waits", row) < 0.3:
            units = int(truth["ordered_units"].iat[row] - truth["cancelled_units"].iat[row] - truth["served_units"].iat[row])
            rows.append((*key, f"SO-{orders['document'].iat[row]}-{orders['line'].iat[row]}", 0, units, as_date(end_day + 14)))
    for one in series:
        key = (one.sku, one.location_id)
        outcome = outcomes[key]
        if one.mean_daily_units > 0.5 and fraction(SEED, "reserved", *key) < 0.02:
            units = min(one.multiple_units, outcome.recorded_units, outcome.physical_units)
            if units > 0:
                due = as_date(end_day + 3 + int(5 * fraction(SEED, "due", *key)))
                rows.append((*key, f"SO-{900000 + len(rows)}", units, 0, due))
    columns = ["sku", "location_id", "document", "reserved_units", "backordered_units", "due_date"]
    return pd.DataFrame(rows, columns=columns).sort_values(["sku", "location_id", "document"]).reset_index(drop=True)


# --- files -----------------------------------------------------------------------------------------------------------


def contract_columns() -> dict[str, dict[str, str]]:
    """Return column names and types of every raw table, as the input contract declares them."""
    declared = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["sources"][0]["tables"]
    return {table["name"]: {column["name"]: column["data_type"] for column in table["columns"]} for table in declared}


ARROW_TYPES = {
    "varchar": pa.string(),
    "integer": pa.int32(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "decimal(18,3)": pa.decimal128(18, 3),
    "decimal(18,4)": pa.decimal128(18, 4),
}


def arrow_column(values: pd.Series, data_type: str) -> pa.ChunkedArray | pa.Array:
    """Return a column in the contract's type."""
    target = ARROW_TYPES[data_type]
    if data_type == "decimal(18,3)":
        return pc.cast(pa.array(values, type=pa.int32(), from_pandas=True), target)
    if data_type == "decimal(18,4)":
        return pc.cast(pc.round(pa.array(values, type=pa.float64(), from_pandas=True), 4), target)
    if data_type.startswith("timestamp") and values.dtype.kind == "i":
        return pa.array(pd.to_datetime(values, unit="s", utc=True).astype("datetime64[us, UTC]"), type=target)
    return pa.array(values, type=target, from_pandas=True)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as zstd Parquet without anything that differs between two runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # zstd finds the runs of identities, instants and small numbers by itself: a dictionary would cost half a megabyte here.
    plain = {"document", "reference", "line", "occurred_at", "recorded_at", "ordered_at", "day"}
    dictionary = [name for name in table.column_names if name not in plain and not pa.types.is_int32(table.schema.field(name).type)]
    pq.write_table(
        table.replace_schema_metadata(None), path, compression="zstd", compression_level=19, store_decimal_as_integer=True,
        row_group_size=131072, data_page_version="2.0", use_dictionary=dictionary,
    )  # fmt: skip


def write_contract_parquet(frame: pd.DataFrame, name: str, output: Path) -> None:
    """Write a raw table as Parquet in the contract's columns and types."""
    columns = contract_columns()[name]
    arrays = {column: arrow_column(frame[column], kind) for column, kind in columns.items() if column in frame}
    missing = {column: pa.nulls(len(frame), ARROW_TYPES[kind]) for column, kind in columns.items() if column not in frame}
    write_parquet(pa.table({column: arrays.get(column, missing.get(column)) for column in columns}), output / name / f"{name}.parquet")


def write_contract_csv(frame: pd.DataFrame, name: str, output: Path) -> None:
    """Write a raw table as CSV in the contract's columns: prices with four digits, booleans in lower case, nothing for null."""
    columns = contract_columns()[name]
    text = pd.DataFrame(index=frame.index)
    for column, kind in columns.items():
        values = frame[column] if column in frame else pd.Series([None] * len(frame), index=frame.index, dtype=object)
        if kind == "decimal(18,4)":
            text[column] = values.map(lambda value: "" if pd.isna(value) else f"{value:.4f}")
        elif kind == "boolean":
            text[column] = values.map(lambda value: "" if pd.isna(value) else str(bool(value)).lower())
        elif kind.startswith("timestamp"):
            text[column] = values.map(lambda value: "" if pd.isna(value) else f"{value:%Y-%m-%dT%H:%M:%SZ}")
        else:
            text[column] = values.map(lambda value: "" if pd.isna(value) else str(value))
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    text.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL, encoding="utf-8")


def write_truth(orders: pd.DataFrame, truth: pd.DataFrame, plantings: pd.DataFrame, outcomes: dict[tuple[str, str], Outcome], output: Path) -> None:
    """Write what really happened: orders, stocks at the end of days on which they changed, and the record errors."""
    is_order = (orders["kind"] == SALE).to_numpy()
    text = {name: pa.array(orders.loc[is_order, name], type=pa.string()) for name in ("document", "sku", "location_id")}
    units = truth[is_order].assign(unserved_units=truth["ordered_units"] - truth["served_units"])
    names = ["ordered_units", "unserved_units", "cancelled_units", "cancelled_served_units"]
    whole = {name: pa.array(units[name], type=pa.int32()) for name in names}
    ordered = pa.array(pd.to_datetime(orders.loc[is_order, "second"], unit="s", utc=True), type=pa.timestamp("us", tz="UTC"))
    line = pa.array(orders.loc[is_order, "line"], type=pa.int32())
    table = {"document": text["document"], "line": line, "ordered_at": ordered, "sku": text["sku"], "location_id": text["location_id"]}
    write_parquet(pa.table({**table, **whole}), output / "truth" / "orders.parquet")
    days = [(sku, location, *day) for (sku, location), outcome in sorted(outcomes.items()) for day in outcome.days]
    frame = pd.DataFrame(days, columns=["sku", "location_id", "day", "physical_units", "recorded_units"])
    stock = {
        "sku": pa.array(frame["sku"], type=pa.string()),
        "location_id": pa.array(frame["location_id"], type=pa.string()),
        "day": pa.array([as_date(day) for day in frame["day"]], type=pa.date32()),
        "physical_units": pa.array(frame["physical_units"], type=pa.int32()),
        "record_error_units": pa.array(frame["recorded_units"] - frame["physical_units"], type=pa.int32()),
    }
    write_parquet(pa.table(stock), output / "truth" / "daily_stock.parquet")
    for column in ("occurred_at", "corrected_at"):
        plantings[column] = plantings[column].map(lambda value: "" if pd.isna(value) else f"{value:%Y-%m-%dT%H:%M:%SZ}")
    plantings.to_csv(output / "truth" / "plantings.csv", index=False, lineterminator="\n", encoding="utf-8")


MIT_NOTICE = """GroceryStoreDataset
Marcus Klasson, Cheng Zhang, Hedvig Kjellström: A Hierarchical Grocery Store Image Dataset with Visual and Semantic Labels,
IEEE Winter Conference on Applications of Computer Vision (WACV), 2019.
The photos in this folder are a sample of it, made smaller and encoded again.

MIT License

Copyright (c) 2019 Marcus Klasson

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def write_photos(source: Path, output: Path) -> pd.DataFrame:
    """Write small photos of the classes with the most photos and their table; return the table."""
    names = pd.read_csv(source / "classes.csv").set_index("Class ID (int)")["Class Name (str)"]
    listed = pd.concat([pd.read_csv(source / "train.csv"), pd.read_csv(source / "val.csv")], ignore_index=True)
    most = listed["fine_id"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    rows = []
    for fine_id in sorted(most.index[:PHOTO_CLASSES]):
        label = str(names[fine_id])
        photos = listed.loc[listed["fine_id"] == fine_id, "path"].tolist()
        held_out = sorted(path for path in photos if path.startswith("val/"))
        seen = sorted((path for path in photos if path.startswith("train/")), key=lambda path: fraction(SEED, path))
        for path in sorted(seen[: PHOTOS_PER_CLASS - len(held_out)]) + held_out:
            split = path.split("/", 1)[0]
            photo_path = f"product_photos/photos/{split}/{label}/{Path(path).name}"
            encoded = smaller_photo(source / path)
            target = output / photo_path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encoded)
            rows.append({"photo_path": photo_path, "label": label, "sha256": hashlib.sha256(encoded).hexdigest()})
    table = pd.DataFrame(rows).sort_values("photo_path").reset_index(drop=True)
    write_contract_csv(table, "product_photos", output)
    (output / "product_photos" / "LICENSE.GroceryStoreDataset").write_text(MIT_NOTICE, encoding="utf-8")
    return table


def smaller_photo(path: Path) -> bytes:
    """Return a photo as a JPEG of at most PHOTO_SIDE pixels a side."""
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=PHOTO_QUALITY, optimize=True)
        return buffer.getvalue()


# --- all of it -------------------------------------------------------------------------------------------------------


def make(sources: Path, output: Path) -> None:
    """Read the sources, run the simulator, write every file and print the figures the README quotes."""
    orders = read_orders(sources / "online_retail" / "online_retail.parquet")
    end_day = int(orders["day"].max())
    traded = set(orders["day"])
    clock = Clock(day for day in range(end_day + 1) if day not in traded and as_date(day).weekday() != 5)
    planned = {(date.fromisoformat(day) - FIRST_DAY).days for day in PLANNED_CLOSURES}
    world = World(Clock(clock.closed | planned), lead_time_ratios(sources / "deliveries" / "supply_deliveries.csv"), int(orders["second"].max()), end_day)
    products = make_products(orders)
    series = make_series(orders, products, world)
    plan_errors(series, world)
    outcomes = simulate(series, world)

    truth = order_truth(orders, outcomes, set(products["sku"]))
    purchases, identity = purchase_orders(outcomes, world)
    sold, copies = order_movements(orders, truth, outcomes)
    received, posted_receipts = receipt_movements(outcomes, identity, world)
    counted, posted_counts = count_movements(outcomes, world)
    movements = pd.concat([sold, received, counted], ignore_index=True)
    movements = movements.sort_values(["recorded_at", "source", "document", "line", "revision"], kind="stable").reset_index(drop=True)
    plantings = planting_table(series, outcomes, orders, copies, posted_receipts, posted_counts, identity, world)

    for name in [*contract_columns(), "truth"]:
        shutil.rmtree(output / name, ignore_errors=True)
    write_contract_parquet(movements, "stock_movements", output)
    write_contract_parquet(purchases, "purchase_order_lines", output)
    supplier_columns = ["supplier_id", "supplier_name", "minimum_order_value", "fixed_order_cost", "review_period_days", "order_weekdays"]
    supplier_rows = [(row[0], row[1], row[6] or None, row[7], row[4], row[5]) for row in SUPPLIERS]
    lanes = [("UKN", "UKS", 2, 0.04), ("UKS", "UKN", 2, 0.04), ("UKN", "EUR", 5, 0.15), ("UKS", "EUR", 4, 0.12), ("EUR", "UKS", 4, 0.12)]
    tables = {
        "products": products,
        "locations": LOCATIONS,
        "suppliers": pd.DataFrame(supplier_rows, columns=supplier_columns),
        "supplier_terms": make_supplier_terms(series, products, world),
        "transfer_lanes": pd.DataFrame(lanes, columns=["from_location_id", "to_location_id", "lead_time_days", "unit_cost"]),
        "reservations": make_reservations(series, outcomes, orders, truth, end_day),
        "prices": make_prices(orders, products),
        "calendar_events": make_calendar(world.clock, end_day),
    }
    for name, frame in tables.items():
        write_contract_csv(frame, name, output)
    tables["product_photos"] = write_photos(sources / "grocery", output)
    write_truth(orders, truth, plantings, outcomes, output)
    report({**tables, "stock_movements": movements, "purchase_order_lines": purchases}, orders, truth, plantings, series, outcomes, world, output)


def report(
    tables: dict[str, pd.DataFrame],
    orders: pd.DataFrame,
    truth: pd.DataFrame,
    plantings: pd.DataFrame,
    series: Sequence[Series],
    outcomes: dict[tuple[str, str], Outcome],
    world: World,
    output: Path,
) -> None:
    """Print the figures that describe the sample."""
    stocked = orders["sku"].isin(tables["products"]["sku"])
    demand = (truth["ordered_units"] - truth["cancelled_units"]).where(stocked, 0)
    net_served = (truth["served_units"] - truth["cancelled_served_units"]).where(stocked, 0)
    lost = demand - net_served
    print(f"series {len(series)}, units demanded {demand.sum()}, unserved {lost.sum()} = {lost.sum() / demand.sum():.2%}")
    print("unserved by depot", (lost.groupby(orders["location_id"]).sum() / demand.groupby(orders["location_id"]).sum()).round(4).to_dict())
    mean = {(one.sku, one.location_id): one.mean_daily_units for one in series}
    rate = pd.Series([mean.get(key, np.nan) for key in zip(orders["sku"], orders["location_id"], strict=True)], index=orders.index)
    band = pd.cut(rate, [-1, 0.1, 0.5, 2, 10, 1e9], labels=["<0.1 a day", "0.1-0.5", "0.5-2", "2-10", ">10"])
    print("unserved by mean demand", (lost.groupby(band, observed=True).sum() / demand.groupby(band, observed=True).sum()).round(4).to_dict())
    lines = (orders["kind"] == SALE) & stocked
    print(f"order lines {lines.sum()}, wholly unserved {((truth['served_units'] == 0) & lines).sum()}, short {((truth['served_units'] < truth['ordered_units']) & lines).sum()}")
    print(f"source kinds {orders['kind'].value_counts().sort_index().to_dict()} (order, cancellation, return, correction)")
    cells = out = negative = 0
    for one in series:
        days = outcomes[one.sku, one.location_id].days
        cells += world.end_day - one.list_day + 1
        for (day, physical, _), after in zip(days, [*(day[0] for day in days[1:]), world.end_day + 1], strict=True):
            out += (after - day) if physical == 0 and day >= one.list_day else 0
        negative += outcomes[one.sku, one.location_id].recorded_units < 0
    print(f"days out of stock {out / cells:.2%} of {cells} cells; negative recorded stock at the end {negative}")
    print(plantings.groupby(["kind", "movement_type", "size"]).size().unstack(fill_value=0))
    real = plantings[plantings["kind"] != "excess_correction"]
    print(f"plantings {real['planting_id'].nunique()}, rows {len(real)}, by size {real['size'].value_counts().to_dict()}, never corrected {(real['corrected_at'].astype(str) == '').sum()}")
    orders_placed = tables["purchase_order_lines"]
    print("purchase lines by status", orders_placed["status"].value_counts().to_dict())
    done = orders_placed[orders_placed["status"] == "received"]
    lead = (done["received_at"].dt.normalize() - done["ordered_at"].dt.normalize()).dt.days
    print("lead time days", lead.quantile([0.05, 0.5, 0.9, 0.99]).to_dict(), "max", lead.max())
    still = orders_placed[orders_placed["status"].isin(["open", "partly_received"])]
    print(f"open lines {len(still)}, late {(pd.to_datetime(still['expected_date']) < pd.Timestamp(as_date(world.end_day))).sum()}")
    movements = tables["stock_movements"]
    print("movements by type", movements["movement_type"].value_counts().to_dict())
    unknown = ~movements["sku"].isin(tables["products"]["sku"])
    negative_price = (movements["unit_price"] < 0).sum()
    print(f"held as unknown sku {(unknown & ~(movements['unit_price'] < 0)).sum()} of {movements.loc[unknown, 'sku'].nunique()} codes, negative price {negative_price}")
    for name, frame in tables.items():
        print(f"rows {name} {len(frame)}")
    sizes = {path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in sorted(output.iterdir()) if path.is_dir()}
    print("bytes", sizes, "total", sum(sizes.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and make the sample."""
    parser = argparse.ArgumentParser(description="Make the shipped sample from the public sources.")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent, help="folder to write to (default: beside this file)")
    options = parser.parse_args(arguments)
    sources = Path(os.environ.get("BENCH_DATA", ROOT / ".." / "shared" / "data"))
    if not (sources / "online_retail" / "online_retail.parquet").is_file():
        print(f"no online_retail/online_retail.parquet under {sources}: set BENCH_DATA to the folder that holds the sources", file=sys.stderr)
        return 2
    make(sources, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
