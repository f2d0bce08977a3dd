"""The invented company around the real orders: depots, suppliers, products, terms, prices, calendar.

Here belongs every table that does not depend on the simulation, and the tables of words and days they are made from.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from simulator import FIRST_DAY, SALE, SEED, Clock, Series, Supplier, as_date, fraction, generator

LOCATIONS = pd.DataFrame(
    [
        ("UKN", "Northampton depot", "warehouse", "GB", "Europe/London"),
        ("UKS", "Southampton depot", "warehouse", "GB", "Europe/London"),
        ("EUR", "Rotterdam depot", "warehouse", "NL", "Europe/Amsterdam"),
    ],
    columns=["location_id", "location_name", "location_type", "country", "time_zone"],
)

TRANSFER_LANES = pd.DataFrame(
    [("UKN", "UKS", 2, 0.04), ("UKS", "UKN", 2, 0.04), ("UKN", "EUR", 5, 0.15), ("UKS", "EUR", 4, 0.12)],
    columns=["from_location_id", "to_location_id", "lead_time_days", "unit_cost"],
)


class Vendor(NamedTuple):
    """One invented supplier; `share` is its part of the range, the agreed lead time holds for the British depots."""

    supplier_id: str
    supplier_name: str
    share: int
    lead_time_days: int
    review_period_days: int
    order_weekdays: str
    minimum_order_value: int | None
    fixed_order_cost: int


VENDORS = [
    Vendor("S01", "Ashdown Giftware", 16, 7, 7, "Mon", 150, 15),
    Vendor("S02", "Bramble & Finch", 14, 10, 7, "Tue", 150, 15),
    Vendor("S03", "Calder Ceramics", 10, 14, 7, "Wed", 200, 20),
    Vendor("S04", "Dunlin Paper Mill", 12, 7, 4, "Mon Thu", 100, 10),
    Vendor("S05", "Elmswell Candle Works", 8, 10, 7, "Thu", 120, 15),
    Vendor("S06", "Fairholt Textiles", 9, 12, 7, "Fri", 150, 20),
    Vendor("S07", "Gosling Toys", 7, 14, 4, "Tue Fri", 150, 15),
    Vendor("S08", "Harrow Glass", 6, 14, 7, "Wed", 200, 25),
    Vendor("S09", "Ipsden Jewellery", 7, 9, 1, "", None, 8),
    Vendor("S10", "Jiaxing Homeware Trading", 5, 28, 7, "Mon", 400, 60),
    Vendor("S11", "Kutná Metalworks", 4, 21, 7, "Thu", 300, 40),
    Vendor("S12", "Lisburn Storage", 2, 18, 7, "Tue", 200, 30),
]
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# One more day at sea and one in customs.
EXPORT_DAYS = 2
LONGEST_LEAD_TIME_DAYS = 28
SECOND_SUPPLIER_SHARE = 0.08

# A product whose first invoice line comes later than this many days after the data begin was launched then.
LAUNCH_AFTER_DAYS = 21
# A product without an order in the last half year may no longer be bought.
ACTIVE_WITHIN_DAYS = 182

# Codes that name no article: carriage, fees, discounts, manual lines, samples, charity, vouchers.
SERVICE_CODES = {"POST", "DOT", "C2", "D", "M", "m", "S", "B", "CRUK", "BANK CHARGES", "AMAZONFEE"}
VOUCHER_PREFIX = "gift_"

# Merchandise groups by the words that name things; the last such word of a description decides.
GROUP_WORDS = {
    "bags": "BAG BAGS HANDBAG WASHBAG SHOPPER PURSE LUGGAGE RUCKSACK BACKPACK SATCHEL WALLET",
    "mugs and cups": "MUG MUGS CUP CUPS TEACUP TEACUPS BEAKER SAUCER TEAPOT TEAPOTS",
    "plates and bowls": "BOWL BOWLS PLATE PLATES DISH DISHES JUG CAKESTAND PLATTER RAMEKIN",
    "candles": "CANDLE CANDLES CANDLEHOLDER CANDLESTICK CANDLEPOT T-LIGHT T-LIGHTS TLIGHT LANTERN LANTERNS INCENSE",
    "lights": "LIGHT LIGHTS LAMP LAMPSHADE CHANDELIER NIGHTLIGHT",
    "jewellery": (
        "NECKLACE BRACELET EARRINGS RING CHARM BROOCH PENDANT BANGLE BEAD BEADS HAIRSLIDE HAIRBAND HAIRCLIP GRIP TIARA"
    ),
    "boxes and storage": (
        "BOX BOXES TIN TINS JAR JARS BASKET BASKETS CABINET DRAWER DRAWERS CRATE TRUNK STORAGE CONTAINER ORGANISER"
        " RACK TIDY CASE BIN"
    ),
    "signs and hooks": ("SIGN SIGNS HOOK HOOKS HANGER HANGERS KNOB KNOBS BLACKBOARD BOARD CHALKBOARD DOORSTOP PLAQUE"),
    "frames and clocks": "FRAME FRAMES MIRROR MIRRORS PHOTO CLOCK CLOCKS ALBUM",
    "decorations": (
        "DECORATION DECORATIONS GARLAND BUNTING WREATH BAUBLE BAUBLES TREE ANGEL STAR STARS BELL BELLS MOBILE CHAIN"
        " ORNAMENT REINDEER SANTA SNOWMAN SNOWFLAKE SNOWFLAKES STOCKING EGG EGGS FLAG RIBBON RIBBONS"
    ),
    "cards and paper": (
        "CARD CARDS WRAP PAPER TISSUE TISSUES NOTEBOOK JOURNAL SKETCHBOOK BOOK STICKERS TAPE TAG TAGS NAPKINS DOILY"
        " DOILIES ENVELOPE ENVELOPES CALENDAR NOTELETS STATIONERY LETTER LETTERS PASSPORT"
    ),
    "kitchen": (
        "CASES CUTTER CUTTERS APRON WHISK SPOON SPOONS RECIPE SCALES TEATOWEL TEATOWELS OVENGLOVE MEASURING MOULD"
        " MOULDS TOWEL TOWELS CUTLERY COASTER COASTERS PLACEMAT PLACEMATS TRAY TRAYS BOTTLE BOTTLES LUNCHBOX"
    ),
    "textiles": (
        "CUSHION CUSHIONS COVER THROW QUILT RUG DOORMAT MAT CURTAIN BLANKET SCARF SLIPPERS COSY WARMER UMBRELLA PARASOL"
        " FLANNEL GLOVES SHAWL SOCKS HAT PONCHO BEANBAG"
    ),
    "garden": (
        "GARDEN PLANTER POT POTS BUCKET TROUGH FORK TROWEL SPADE THERMOMETER BIRDHOUSE FEEDER SEEDS WATERING CAN HERB"
    ),
    "toys and games": (
        "TOY TOYS DOLL GAME GAMES PUZZLE SKITTLES SOLDIER HARMONICA JIGSAW DOMINOES CAR CARS BALL BALLOON BALLOONS"
        " RABBIT BEAR BUNNY PUPPET SLINKY GLIDERS ROCKET XYLOPHONE PLAYHOUSE CRAYONS CHALKS DINOSAUR DUCKS"
    ),
    "craft and pens": (
        "KIT CRAFT PEN PENS PENCIL PENCILS RULER STAMP STAMPS SEWING BUTTONS WOOL ERASER ERASERS SHARPENER SHARPENERS"
    ),
    "bath and body": "SOAP BALM BATH PERFUME PLASTERS TOOTHBRUSH SPONGE",
    "stands and furniture": "STAND STOOL CHAIR TABLE SHELF SIDEBOARD BENCH LADDER",
    "artificial flowers": "FLOWER FLOWERS ROSE ROSES STEM TULIP DAISY BLOSSOM BOUQUET",
    "magnets and keyrings": "MAGNET MAGNETS STICKER TATTOOS KEYRING KEYRINGS KEYCHAIN BADGE BADGES PATCHES",
}
GROUP_OF_WORD = {word: group for group, words in GROUP_WORDS.items() for word in words.split()}

# Unit price below which these are the sizes of a case: cheap things come by the dozen, dear ones singly.
CASE_PACKS = [(0.5, (24, 36, 48)), (1.5, (12, 12, 24)), (4.0, (6, 8, 12)), (10.0, (2, 4, 6)), (np.inf, (1, 1, 2))]

CALENDAR_UNTIL = date(2012, 6, 30)
HOLIDAYS = {
    "GB": {
        "2010-12-25": "Christmas Day",
        "2010-12-27": "Christmas Day (substitute)",
        "2010-12-28": "Boxing Day (substitute)",
        "2011-01-03": "New Year's Day (substitute)",
        "2011-04-22": "Good Friday",
        "2011-04-25": "Easter Monday",
        "2011-04-29": "Royal Wedding",
        "2011-05-02": "Early May bank holiday",
        "2011-05-30": "Spring bank holiday",
        "2011-08-29": "Summer bank holiday",
        "2011-12-25": "Christmas Day",
        "2011-12-26": "Boxing Day",
        "2011-12-27": "Christmas Day (substitute)",
        "2012-01-02": "New Year's Day (substitute)",
        "2012-04-06": "Good Friday",
        "2012-04-09": "Easter Monday",
        "2012-05-07": "Early May bank holiday",
        "2012-06-04": "Spring bank holiday",
        "2012-06-05": "Diamond Jubilee",
    },
    "NL": {
        "2010-12-25": "Christmas Day",
        "2010-12-26": "Second Christmas Day",
        "2011-01-01": "New Year's Day",
        "2011-04-22": "Good Friday",
        "2011-04-25": "Easter Monday",
        "2011-04-30": "Queen's Day",
        "2011-12-25": "Christmas Day",
        "2011-12-26": "Second Christmas Day",
        "2012-01-01": "New Year's Day",
        "2012-04-06": "Good Friday",
        "2012-04-09": "Easter Monday",
        "2012-04-30": "Queen's Day",
    },
}
# Public holidays on which Rotterdam shipped all the same: the orders say so.
WORKED_HOLIDAYS = {
    "NL": {
        "2011-06-02": "Ascension Day",
        "2011-06-13": "Whit Monday",
        "2012-05-17": "Ascension Day",
        "2012-05-28": "Whit Monday",
    }
}
# Closed days after the data end: last year's Christmas closure again, and the bank holidays.
PLANNED_CLOSURES = [
    *(date(2011, 12, day) for day in (24, 25, 26, 27, 28, 29, 30, 31)),
    *(date(2012, 1, day) for day in (1, 2)),
    *(date(2012, 4, day) for day in (6, 8, 9)),
    date(2012, 5, 7),
    *(date(2012, 6, day) for day in (4, 5)),
]
# Invented offers of the month after the data end.
# Nine tenths of a year's units of these names are bought between the two days.
SEASON_WORD, SEASON_FROM, SEASON_TO = "CHRISTMAS", date(2011, 9, 1), date(2011, 12, 24)
OFFER_NAME, OFFER_FROM, OFFER_TO = "January offers 2012", date(2012, 1, 5), date(2012, 1, 25)
OFFER_SHARE, OFFER_FACTOR = 0.02, 0.8
# A price period is an offer if it undercuts both neighbours by this factor.
PROMOTION_FACTOR = 0.85
LEAST_LINES_A_MONTH = 5


def opening_second(location_id: str) -> int:
    """Return the UTC second at which the first local day of a depot begins."""
    zone = LOCATIONS.set_index("location_id")["time_zone"][location_id]
    return int(datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=ZoneInfo(zone)).timestamp())


def make_products(orders: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """Return the product master: articles that have a name and a price, one row per sku.

    The name is the most frequent description, the price the most frequent one that invoiced customers paid: lines
    without a customer are mostly the consumer site's, value-added tax included.
    """
    is_service = orders["sku"].isin(SERVICE_CODES) | orders["sku"].str.startswith(VOUCHER_PREFIX)
    is_priced = (orders["kind"] == SALE) & (orders["unit_price"] > 0) & orders["description"].notna()
    priced = orders[is_priced & ~is_service]
    priced = priced.assign(product_name=priced["description"].str.split().str.join(" "))
    invoiced = priced[priced["customer"].notna()]
    listed = pd.concat([invoiced, priced[~priced["sku"].isin(invoiced["sku"])]])
    products = _most_frequent(priced, "product_name").merge(_most_frequent(listed, "unit_price"), on="sku")
    first_line = orders.groupby("sku")["day"].min()[products["sku"]]
    last_order = priced.groupby("sku")["day"].max()[products["sku"]]
    price_of = list(zip(products["sku"], products["unit_price"], strict=True))
    return products.assign(
        category=[category(name) for name in products["product_name"]],
        unit_of_measure="each",
        unit_cost=[max(0.01, round(price * (0.42 + 0.28 * fraction(SEED, "cost", sku)), 4)) for sku, price in price_of],
        case_pack_units=[case_pack_units(sku, price) for sku, price in price_of],
        launched_date=[
            as_date(launch_day(sku, int(day), clock)) if day > LAUNCH_AFTER_DAYS else None
            for sku, day in first_line.items()
        ],
        is_active=(last_order > orders["day"].max() - ACTIVE_WITHIN_DAYS).to_numpy(),
    )


def _most_frequent(lines: pd.DataFrame, column: str) -> pd.DataFrame:
    counted = lines.groupby(["sku", column]).size().rename("lines").reset_index()
    ranked = counted.sort_values(["sku", "lines", column], ascending=[True, False, False])
    return ranked.drop_duplicates("sku")[["sku", column]]


def launch_day(sku: str, first_line_day: int, clock: Clock) -> int:
    """Return the working day, three to fourteen days before the first invoice line, on which the first lot comes."""
    day = clock.next_working_day(max(1, first_line_day - 3 - generator("launch", sku).randrange(12)))
    while day > first_line_day or day != clock.next_working_day(day):
        # Over Christmas and Easter the next working day can lie behind the first line.
        day -= 1
    return day


def category(product_name: str) -> str:
    """Return the merchandise group that the last telling word of a name stands for, 'other' without one."""
    for word in reversed(product_name.upper().replace(",", " ").replace("/", " ").split()):
        if word in GROUP_OF_WORD:
            return GROUP_OF_WORD[word]
    return "other"


def case_pack_units(sku: str, unit_price: float) -> int:
    """Return the units in a case."""
    sizes = next(sizes for below, sizes in CASE_PACKS if unit_price < below)
    return sizes[int(fraction(SEED, "case", sku) * len(sizes))]


def vendor_of(sku: str, other_than: str = "") -> Vendor:
    """Return the supplier of a sku, or its second one; variants of one article, as in 85099B and 85099C, share it."""
    vendors = [vendor for vendor in VENDORS if vendor.supplier_id != other_than]
    article = "".join(sign for sign in sku if sign.isdigit()) or sku
    place = fraction(SEED, "supplier", other_than, article) * sum(vendor.share for vendor in vendors)
    for vendor in vendors:
        place -= vendor.share
        if place < 0:
            break
    return vendor


def terms_of(sku: str, location_id: str, case_pack: int) -> Supplier:
    """Return on what terms the first supplier of a sku delivers it to a depot."""
    vendor = vendor_of(sku)
    return Supplier(
        supplier_id=vendor.supplier_id,
        lead_time_days=_lead_time_days(vendor, location_id),
        review_period_days=vendor.review_period_days,
        weekdays=frozenset(WEEKDAYS.index(name) for name in vendor.order_weekdays.split()),
        moq_units=case_pack * (1 + int(3 * fraction(SEED, "moq", sku))),
        multiple_units=case_pack,
    )


def _lead_time_days(vendor: Vendor, location_id: str) -> int:
    return min(LONGEST_LEAD_TIME_DAYS, vendor.lead_time_days + (EXPORT_DAYS if location_id == "EUR" else 0))


def make_supplier_terms(series: list[Series], products: pd.DataFrame) -> pd.DataFrame:
    """Return supplier_terms; about one sku in twelve has a second supplier that is dearer and asks for no minimum."""
    cost = dict(zip(products["sku"], products["unit_cost"], strict=True))
    rows = []
    for one in series:
        terms = one.supplier
        shared = {"sku": one.sku, "location_id": one.location_id, "order_multiple_units": terms.multiple_units}
        first = {
            "supplier_id": terms.supplier_id,
            "lead_time_days": terms.lead_time_days,
            "moq_units": terms.moq_units,
            "unit_cost": cost[one.sku],
            "priority": 1,
        }
        rows.append(shared | first)
        if fraction(SEED, "second", one.sku) < SECOND_SUPPLIER_SHARE:
            vendor = vendor_of(one.sku, other_than=terms.supplier_id)
            second = {
                "supplier_id": vendor.supplier_id,
                "lead_time_days": _lead_time_days(vendor, one.location_id),
                "moq_units": terms.multiple_units,
                "unit_cost": round(cost[one.sku] * 1.08, 4),
                "priority": 2,
            }
            rows.append(shared | second)
    return pd.DataFrame(rows)


def make_prices(orders: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Return price periods: the commonest invoiced price of each month, equal months joined, and invented offers.

    A month speaks if at least five lines of invoiced customers, and half of them at one price, are there. Products
    whose price never changed have no row unless they are offered.
    """
    is_telling = (orders["kind"] == SALE) & orders["customer"].notna() & (orders["unit_price"] > 0)
    lines = orders[is_telling & orders["sku"].isin(products["sku"])]
    month = lines["day"].map({day: as_date(day).replace(day=1) for day in lines["day"].unique()}).rename("month")
    counted = lines.groupby(["sku", month, "unit_price"]).size().rename("lines").reset_index()
    total = counted.groupby(["sku", "month"])["lines"].transform("sum")
    counted = counted[(total >= LEAST_LINES_A_MONTH) & (counted["lines"] * 2 > total)]
    offered = {sku for sku in products["sku"][products["is_active"]] if fraction(SEED, "offer", sku) < OFFER_SHARE}
    observed = {
        sku: list(zip(months["month"], months["unit_price"], strict=True)) for sku, months in counted.groupby("sku")
    }
    rows: list[dict[str, object]] = []
    for sku, unit_price in zip(products["sku"], products["unit_price"], strict=True):
        months_of_sku = observed.get(sku, [(FIRST_DAY, unit_price)])
        changes = [(FIRST_DAY, months_of_sku[0][1])]
        for start, price in months_of_sku[1:]:
            if price != changes[-1][1]:
                changes.append((start, price))
        if len(changes) > 1 or sku in offered:
            rows += _price_periods(sku, changes, sku in offered)
    return pd.DataFrame(rows)


def _price_periods(sku: str, changes: list[tuple[date, float]], is_offered: bool) -> list[dict[str, object]]:
    prices = [price for _, price in changes]
    names: list[str | None] = [None] * len(changes)
    for place in range(1, len(changes) - 1):
        if prices[place] <= PROMOTION_FACTOR * min(prices[place - 1], prices[place + 1]):
            names[place] = f"Offer {changes[place][0]:%B %Y}"
    starts = [start for start, _ in changes]
    if is_offered:
        starts += [OFFER_FROM, OFFER_TO + timedelta(days=1)]
        prices += [round(prices[-1] * OFFER_FACTOR, 2), prices[-1]]
        names += [OFFER_NAME, None]
    ends = [*(start - timedelta(days=1) for start in starts[1:]), CALENDAR_UNTIL]
    return [
        {
            "sku": sku,
            "from_date": start,
            "to_date": end,
            "unit_price": price,
            "is_promotion": name is not None,
            "promotion_name": name,
        }
        for start, end, price, name in zip(starts, ends, prices, names, strict=True)
    ]


def make_seasons(products: pd.DataFrame) -> pd.DataFrame:
    """Return product_seasons: the one season to come of the products that are named after it."""
    named = products["product_name"].str.upper().str.contains(SEASON_WORD, regex=False)
    return products.loc[named, ["sku"]].assign(from_date=SEASON_FROM, to_date=SEASON_TO)


def make_calendar(clock: Clock) -> pd.DataFrame:
    """Return the seller's closed days, for both countries, and each country's public holidays, to mid-2012."""
    rows = []
    for day in range((CALENDAR_UNTIL - FIRST_DAY).days + 1):
        when = as_date(day)
        if not clock.is_open(day):
            name = "Closed on Saturdays" if when.weekday() == 5 else "Seller closed"
            rows += [(when, country, name, "closed") for country in HOLIDAYS]
    for kind, by_country in (("holiday", HOLIDAYS), ("other", WORKED_HOLIDAYS)):
        for country, names in by_country.items():
            rows += [(date.fromisoformat(day), country, name, kind) for day, name in names.items()]
    return pd.DataFrame(sorted(rows), columns=["date", "country", "event_name", "event_type"])
