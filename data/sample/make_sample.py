"""Make the shipped sample: real customer orders, a simulated warehouse around them, and the truth about both.

Here belongs reading the public sources, telling the simulator what it is given, planting errors, and every file that is
written. `simulator.py` runs the warehouse, `company.py` invents the company. The product imports none of them. Run by
hand, from the repository:

    BENCH_DATA=../shared/data python data/sample/make_sample.py [--output FOLDER]

The same sources give the same bytes. What is real and what is simulated stands in the README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from company import (
    LOCATIONS,
    PLANNED_CLOSURES,
    TRANSFER_LANES,
    VENDORS,
    make_calendar,
    make_prices,
    make_products,
    make_seasons,
    make_supplier_terms,
    opening_second,
    terms_of,
)
from PIL import Image
from simulator import (
    CANCELLATION,
    CORRECTION,
    FIRST_DAY,
    RETURN,
    SALE,
    SEED,
    SIZES,
    Clock,
    Outcome,
    Planting,
    PurchaseKey,
    Receipt,
    Series,
    Simulation,
    World,
    as_date,
    fraction,
    generator,
    size_of,
)

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "dbt_project" / "models" / "staging" / "__raw.yml"

UKN_SHARE = 0.58
RATIO_CLIP = (0.3, 3.0)
LEAST_DELIVERIES_OF_A_VENDOR = 10
OPENING_PLAN_DAYS = 56
# A single order above this many units is no base for an opening plan.
OPENING_PLAN_LARGEST_ORDER = 240
PLANTINGS = 1600
PLANTING_KINDS = {"mis_keyed": 38, "lost": 24, "double_posted": 22, "swapped_code": 16}

DAMAGE_WORDS = (
    *("damag", "dagamed", "wet", "rust", "mould", "crush", "smash", "broken", "crack", "smudge", "dirty", "rotten"),
    *("faulty", "thrown", "throw", "destroy", "unsaleable", "lost", "missing", "display", "sample"),
)

PHOTO_CLASSES = 30
PHOTOS_PER_CLASS = 40
PHOTO_SIDE = 96
PHOTO_QUALITY = 80
PHOTO_NOTICE = "LICENSE.txt"

SeriesKey = tuple[str, str]
# Document and line under which the warehouse posted a receipt, by purchase line, second and copy.
PostedReceipts = dict[tuple[PurchaseKey, int, int], tuple[str, int]]
# Document and line of a count, by sku, depot and second.
PostedCounts = dict[tuple[str, str, int], tuple[str, int]]


def read_orders(source: Path) -> pd.DataFrame:
    """Return the invoice lines with identity, instant, depot and kind, in the order of the source.

    Columns: document, line, sku, description, quantity (signed as in the source), unit_price, customer, country,
    second (UTC), day, location_id, kind (of the simulator), target (row of the cancelled sale, else -1).
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
    instant = raw["InvoiceDate"].dt.tz_localize("Europe/London").dt.tz_convert("UTC").dt.tz_localize(None)
    orders["second"] = instant.astype("datetime64[s]").astype("int64")
    orders["day"] = (raw["InvoiceDate"].dt.normalize() - pd.Timestamp(FIRST_DAY)).dt.days
    orders["kind"], orders["target"] = kinds(orders)
    location = depots(orders)
    # What comes back from a cancelled sale comes back to where it was sold.
    orders["location_id"] = location[np.where(orders["target"] >= 0, orders["target"], orders.index)]
    return orders


def depots(orders: pd.DataFrame) -> np.ndarray:
    """Return the depot of each line: two for British customers (for the invoice without one), one for the others."""
    owner = orders["customer"].astype("string").fillna("invoice " + orders["document"])
    code, owners = pd.factorize(owner)
    is_north = np.array([fraction("depot", name) < UKN_SHARE for name in owners])
    return np.where(orders["country"] != "United Kingdom", "EUR", np.where(is_north[code], "UKN", "UKS"))


def kinds(orders: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return what each line does, and for a cancellation the row of the sale it cancels.

    A line of an invoice that begins with C cancels the latest earlier line of the same customer and code of which at
    least its quantity is left; without one it is a return. Another negative line is a stock correction. All else is an
    order.
    """
    is_credit = orders["document"].str.startswith("C").to_numpy()
    quantity = orders["quantity"].to_numpy()
    kind = np.where(is_credit, RETURN, np.where(quantity < 0, CORRECTION, SALE))
    target = np.full(len(orders), -1)
    left = quantity.copy()
    keys = list(zip(orders["customer"].fillna(-1), orders["sku"], strict=True))
    credited = {key for key, credit in zip(keys, is_credit, strict=True) if credit and key[0] >= 0}
    earlier: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key not in credited:
            continue
        if kind[row] == SALE:
            earlier[key].append(row)
        elif kind[row] == RETURN:
            sale = next((sale for sale in reversed(earlier[key]) if left[sale] >= -quantity[row]), -1)
            if sale >= 0:
                kind[row], target[row] = CANCELLATION, sale
                left[sale] += quantity[row]
    return kind, target


def lead_time_ratios(source: Path) -> list[float]:
    """Return real lead times over the median of their vendor, clipped; vendors with at least ten known ones."""
    columns = ["vendor", "po sent to vendor date", "delivered to client date"]
    deliveries = pd.read_csv(source, encoding="latin-1", usecols=columns)
    sent, delivered = (pd.to_datetime(deliveries[name], errors="coerce", format="mixed") for name in columns[1:])
    days = (delivered - sent).dt.days
    days = days[days > 0]
    by_vendor = days.groupby(deliveries["vendor"])
    is_known = by_vendor.transform("size") >= LEAST_DELIVERIES_OF_A_VENDOR
    return sorted((days / by_vendor.transform("median"))[is_known].clip(*RATIO_CLIP).round(4).tolist())


def make_world(orders: pd.DataFrame, ratios: Sequence[float]) -> World:
    """Return clock and lead times; a day without a line was closed, and Christmas will be again."""
    traded = set(orders["day"])
    closed = {day for day in range(max(traded) + 1) if day not in traded}
    planned = {(day - FIRST_DAY).days for day in PLANNED_CLOSURES}
    return World(Clock(closed | planned), ratios, int(orders["second"].max()))


def make_series(orders: pd.DataFrame, products: pd.DataFrame, world: World) -> list[Series]:
    """Return one series per sku of the master and depot with any line, with all the simulator is given about it.

    Opening stock, or the first lot of a launch, comes from a noisy plan of the first eight weeks: it is given, and the
    only thing in the simulation that knows of orders to come.
    """
    case_pack = dict(zip(products["sku"], products["case_pack_units"], strict=True))
    lines = orders[orders["sku"].isin(case_pack)].sort_values(["sku", "location_id", "second"], kind="stable")
    is_sale = lines["kind"] == SALE
    launched = products.set_index("sku")["launched_date"]
    list_day = launched.map(lambda day: 0 if day is None else (day - FIRST_DAY).days)
    start = lines["sku"].map(list_day)
    is_planned = is_sale & (lines["day"] < start + OPENING_PLAN_DAYS)
    early = lines["quantity"].clip(upper=OPENING_PLAN_LARGEST_ORDER).where(is_planned, 0)
    net = lines["quantity"].where(lines["kind"].isin([SALE, CANCELLATION]), 0)
    lines = lines.assign(early=early, net=net, units=lines["quantity"].abs(), row=lines.index)
    series = []
    for (sku, location_id), own in lines.groupby(["sku", "location_id"], sort=True):
        draw = generator("given", sku, location_id)
        multiple, day = int(case_pack[sku]), int(list_day[sku])
        plan_rate = draw.lognormvariate(0.0, 0.5) * (own["early"].sum() + 1.0) / OPENING_PLAN_DAYS
        wanted = plan_rate * draw.uniform(40, 100)
        opening = ceil(wanted / multiple) * multiple
        if day == 0:
            is_bare = wanted < multiple / 2 and draw.random() < 0.2
            opening = 0 if is_bare else opening - draw.randrange(multiple)
        mean = max(0.0, own["net"].sum()) / (world.end_day - day + 1)
        columns = [own[name].tolist() for name in ("second", "kind", "row", "units", "target")]
        series.append(
            Series(
                sku=sku,
                location_id=location_id,
                supplier=terms_of(sku, location_id, multiple),
                opening_second=opening_second(location_id),
                list_day=day,
                plan_rate=plan_rate,
                opening_units=opening,
                mean_daily_units=mean,
                count_every_days=75 if mean >= 1 else 120 if mean >= 0.1 else 200,
                events=list(zip(*columns, strict=True)),
                cancelled_rows=frozenset(own["target"][own["target"] >= 0]),
            )
        )
    return series


def plan_errors(series: Sequence[Series], world: World) -> None:
    """Plan the record errors: which series, of what kind and size, on what, and from when on.

    Only series with at least 0.4 units of demand a day, and listed long enough, are asked: on slower ones a single unit
    is weeks of demand. A swapped code goes to one of the six nearest codes of the depot.
    """
    draw = generator("plantings")
    by_key = {(one.sku, one.location_id): one for one in series}
    skus = {
        location: [one.sku for one in series if one.location_id == location] for location in LOCATIONS["location_id"]
    }
    able = [one for one in series if one.mean_daily_units >= 0.4 and world.end_day - one.list_day >= 120]
    givers: set[SeriesKey] = set()
    takers: set[SeriesKey] = set()
    for one in draw.sample(able, min(PLANTINGS, len(able))):
        kind = draw.choices(list(PLANTING_KINDS), list(PLANTING_KINDS.values()))[0]
        # A receipt covers weeks of demand, a sale a few days: small and medium errors fit on sales.
        if kind == "mis_keyed":
            size, on = draw.choice(SIZES), draw.choices(("receipt", "count"), (60, 40))[0]
        else:
            size = draw.choices(SIZES, (33, 40, 27))[0]
            receipts = {"small": 0, "medium": 25, "large": 60}[size]
            on = draw.choices(("sale", "receipt"), (100 - receipts, receipts))[0]
        planting = Planting(kind, on, size, world.clock.at(draw.randint(one.list_day + 10, world.end_day - 45), 720))
        if kind == "swapped_code":
            location = one.location_id
            place = skus[location].index(one.sku)
            near = [sku for sku in skus[location][max(0, place - 3) : place + 4] if sku != one.sku]
            near = [
                sku for sku in near if (sku, location) not in givers and by_key[sku, location].list_day <= one.list_day
            ]
            if (one.sku, location) in takers or not near:
                continue
            planting.partner = draw.choice(near)
            givers.add((one.sku, location))
            takers.add((planting.partner, location))
        one.planned.append(planting)


def simulate(series: Sequence[Series], world: World) -> dict[SeriesKey, Outcome]:
    """Run all series; those that hand movements over to another sku run before the others."""
    by_key = {(one.sku, one.location_id): one for one in series}
    gives = {key: any(planting.partner for planting in one.planned) for key, one in by_key.items()}
    outcomes: dict[SeriesKey, Outcome] = {}
    for key in sorted(by_key, key=lambda key: not gives[key]):
        outcome = outcomes[key] = Simulation(by_key[key], world).run()
        for partner, second, kind, units, planting in outcome.handed_over:
            by_key[partner, key[1]].foreign.append((second, kind, units, planting))
        for planting in outcome.refused:
            planting.kind = "lost"
    return {key: outcomes[key] for key in by_key}


def order_truth(orders: pd.DataFrame, outcomes: dict[SeriesKey, Outcome], products: pd.DataFrame) -> pd.DataFrame:
    """Return, row by row of the source, what was ordered, served and cancelled.

    Columns: ordered_units, served_units, cancelled_units (of an order, by credit notes), cancelled_served_units (of
    those, what had been served), taken_units (what this cancellation took back). Lines of codes without stock are
    served whole.
    """
    kind, quantity, target = (orders[name].to_numpy() for name in ("kind", "quantity", "target"))
    has_no_stock = ~orders["sku"].isin(products["sku"]).to_numpy()
    served = np.where((kind == SALE) & has_no_stock, quantity, 0)
    taken = np.where((kind == CANCELLATION) & has_no_stock, -quantity, 0)
    for outcome in outcomes.values():
        for row, units in outcome.served.items():
            served[row] = units
        for row, units in outcome.cancelled.items():
            if kind[row] == CANCELLATION:
                taken[row] = units
    cancelled, cancelled_served = np.zeros_like(quantity), np.zeros_like(quantity)
    is_cancellation = kind == CANCELLATION
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


def shop_movements(
    orders: pd.DataFrame, truth: pd.DataFrame, outcomes: dict[SeriesKey, Outcome]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the movements the invoices became, and under which invoice a doubled sale was posted again, by row."""
    unrecorded = {row for outcome in outcomes.values() for row in outcome.unrecorded}
    unrecorded |= {planting.row for outcome in outcomes.values() for planting in outcome.refused}
    doubled = sorted(row for outcome in outcomes.values() for row in outcome.doubled)
    kind, quantity, target = (orders[name].to_numpy() for name in ("kind", "quantity", "target"))
    document, line = orders["document"].to_numpy(), orders["line"].to_numpy()
    note = orders["description"].fillna("").str.strip()
    is_damage = note.str.lower().str.contains("|".join(DAMAGE_WORDS))
    is_kind = [kind == SALE, kind == CANCELLATION, kind == RETURN]
    change = np.select(is_kind, [-truth["served_units"], truth["taken_units"], -quantity], quantity)
    correction = np.where(is_damage, "write_off", "adjustment")
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
            "movement_type": np.select(is_kind, ["sale", "cancellation", "return"], correction),
            "quantity_units": change,
            "unit_price": orders["unit_price"].where(kind != CORRECTION),
            "reference": [f"shop:{document[row]}:{line[row]}" if row >= 0 else None for row in target],
            "reason": note.where((kind == CORRECTION) & (note != ""), None),
        }
    )
    for outcome in outcomes.values():
        for row, sku in outcome.swapped.items():
            movements.loc[row, "sku"] = sku
    taken_numbers = {int(name.lstrip("AC")) for name in set(document)}
    copies: dict[int, str] = {}
    for row in doubled:
        number = int(document[row]) + 1
        while number in taken_numbers:
            number += 1
        taken_numbers.add(number)
        copies[row] = str(number)
    again = movements.loc[doubled].assign(document=[copies[row] for row in doubled])
    is_written = (change != 0) & ~movements.index.isin(unrecorded)
    return pd.concat([movements[is_written], again]), copies


def purchase_orders(
    outcomes: dict[SeriesKey, Outcome], world: World
) -> tuple[pd.DataFrame, dict[PurchaseKey, tuple[str, int]]]:
    """Return purchase_order_lines, and order and line number of each purchase."""
    lines = sorted((line for outcome in outcomes.values() for line in outcome.purchases), key=lambda line: line.key)
    identity: dict[PurchaseKey, tuple[str, int]] = {}
    last: dict[str, int] = defaultdict(int)
    for line in lines:
        order = f"PO{as_date(line.key.ordered_day):%y%m%d}-{line.key.supplier_id}-{line.key.location_id}"
        last[order] += 1
        identity[line.key] = (order, last[order])
    clock = world.clock
    ordered = np.array([clock.at(line.key.ordered_day, 1260) for line in lines])
    confirmed = np.array([clock.at(clock.next_working_day(line.key.ordered_day + 1), 600) for line in lines])
    received = np.array([line.received_second for line in lines])
    frame = pd.DataFrame(
        {
            "purchase_order_id": [identity[line.key][0] for line in lines],
            "line": [identity[line.key][1] for line in lines],
            "supplier_id": [line.key.supplier_id for line in lines],
            "sku": [line.key.sku for line in lines],
            "location_id": [line.key.location_id for line in lines],
            "ordered_at": instants(ordered),
            "confirmed_at": instants(confirmed).where(confirmed <= world.end_second),
            "expected_date": [as_date(line.expected_day) for line in lines],
            "ordered_units": [line.ordered_units for line in lines],
            "received_units": [line.received_units for line in lines],
            "received_at": instants(received).where(received >= 0),
            "status": [line.status for line in lines],
        }
    )
    return frame, identity


def receipt_movements(
    outcomes: dict[SeriesKey, Outcome], identity: dict[PurchaseKey, tuple[str, int]], world: World
) -> tuple[pd.DataFrame, PostedReceipts]:
    """Return the receipts as movements, and document and line of each; a lorry's goods share a document."""
    receipts = [receipt for outcome in outcomes.values() for receipt in outcome.receipts]
    receipts.sort(key=lambda receipt: (receipt.second, receipt.key, receipt.copy, receipt.revision))
    posted: PostedReceipts = {}
    last: dict[str, int] = defaultdict(int)
    for receipt in receipts:
        place = (receipt.key, receipt.second, receipt.copy)
        if place not in posted:
            note = goods_received_note(receipt, world.clock)
            last[note] += 1
            posted[place] = (note, last[note])
    documents = [posted[receipt.key, receipt.second, receipt.copy] for receipt in receipts]
    frame = pd.DataFrame(
        {
            "source": "wms",
            "document": [document for document, _ in documents],
            "line": [line for _, line in documents],
            "revision": [receipt.revision for receipt in receipts],
            "occurred_at": [receipt.second for receipt in receipts],
            "recorded_at": [receipt.recorded_second for receipt in receipts],
            "sku": [receipt.sku for receipt in receipts],
            "location_id": [receipt.key.location_id for receipt in receipts],
            "movement_type": "receipt",
            "quantity_units": [receipt.units for receipt in receipts],
            "reference": [purchase_reference(identity, receipt.key) for receipt in receipts],
        }
    )
    return frame, posted


def goods_received_note(receipt: Receipt, clock: Clock) -> str:
    """Return the document of a receipt; a second posting of a delivery gets another one."""
    day = as_date(clock.day_of(receipt.second))
    note = f"GR{day:%y%m%d}-{receipt.key.supplier_id}-{receipt.key.location_id}"
    return f"{note}-2" if receipt.copy else note


def purchase_reference(identity: dict[PurchaseKey, tuple[str, int]], key: PurchaseKey) -> str:
    """Return the reference of a receipt to its purchase order line."""
    order, line = identity[key]
    return f"{order}:{line}"


def count_movements(outcomes: dict[SeriesKey, Outcome], clock: Clock) -> tuple[pd.DataFrame, PostedCounts]:
    """Return opening and cycle counts as movements, and document and line of each."""
    counts = sorted(
        (second, location, sku, units)
        for (sku, location), outcome in outcomes.items()
        for second, units in outcome.counts
    )
    posted: PostedCounts = {}
    last: dict[str, int] = defaultdict(int)
    for second, location, sku, _ in counts:
        is_opening = second == opening_seconds()[location]
        sheet = f"OPEN-{location}" if is_opening else f"CC{as_date(clock.day_of(second)):%y%m%d}-{location}"
        last[sheet] += 1
        posted[sku, location, second] = (sheet, last[sheet])
    seconds = [second for second, *_ in counts]
    documents = [posted[sku, location, second] for second, location, sku, _ in counts]
    frame = pd.DataFrame(
        {
            "source": "wms",
            "document": [document for document, _ in documents],
            "line": [line for _, line in documents],
            "revision": 0,
            "occurred_at": seconds,
            "recorded_at": seconds,
            "sku": [sku for _, _, sku, _ in counts],
            "location_id": [location for _, location, *_ in counts],
            "movement_type": "count",
            "quantity_units": [units for *_, units in counts],
            "reason": ["opening stock" if document.startswith("OPEN") else None for document, _ in documents],
        }
    )
    return frame, posted


def opening_seconds() -> dict[str, int]:
    """Return when the opening stock of each depot is counted."""
    return {location: opening_second(location) for location in LOCATIONS["location_id"]}


def planting_table(
    series: Sequence[Series],
    outcomes: dict[SeriesKey, Outcome],
    orders: pd.DataFrame,
    copies: dict[int, str],
    posted: tuple[PostedReceipts, PostedCounts],
    identity: dict[PurchaseKey, tuple[str, int]],
    clock: Clock,
) -> pd.DataFrame:
    """Return the record errors, one row per error and sku whose recorded stock it made wrong."""
    mean = {(one.sku, one.location_id): one.mean_daily_units for one in series}
    entries = [(planting, key) for key, outcome in outcomes.items() for planting in outcome.plantings]
    entries.sort(key=lambda entry: (entry[0].occurred_second, entry[0].mirror_of is not None, entry[1]))
    number: dict[int, str] = {}
    rows = []
    for planting, (sku, location_id) in entries:
        original = planting.mirror_of or planting
        source, document, line, reference = "wms", None, None, None
        if planting.row >= 0:
            source, document, line = "shop", orders["document"][planting.row], orders["line"][planting.row]
            document = copies.get(planting.row, document)
        elif planting.purchase_key is not None:
            copy = int(planting.kind == "double_posted")
            document, line = posted[0].get((planting.purchase_key, planting.occurred_second, copy), (None, None))
            reference = purchase_reference(identity, planting.purchase_key)
        else:
            document, line = posted[1][sku, location_id, planting.occurred_second]
        rows.append(
            {
                "planting_id": number.setdefault(id(original), f"E{len(number) + 1:04d}"),
                "kind": original.kind,
                "movement_type": planting.on,
                "size": size_of(planting.error_units, mean[sku, location_id]),
                "sku": sku,
                "location_id": location_id,
                "occurred_at": planting.occurred_second,
                "day": as_date(clock.day_of(planting.occurred_second)),
                "source": source,
                "document": document,
                "line": line,
                "reference": reference,
                "true_units": planting.true_units,
                "recorded_units": planting.recorded_units,
                "error_units": planting.error_units,
                "error_days_of_demand": round(abs(planting.error_units) / max(mean[sku, location_id], 1e-4), 2),
                "corrected_at": planting.corrected_second,
            }
        )
    frame = pd.DataFrame(rows).astype({"line": "Int64"})
    is_corrected = frame["corrected_at"] >= 0
    return frame.assign(
        occurred_at=instants(frame["occurred_at"]), corrected_at=instants(frame["corrected_at"]).where(is_corrected)
    )


def make_reservations(
    series: Sequence[Series],
    outcomes: dict[SeriesKey, Outcome],
    orders: pd.DataFrame,
    truth: pd.DataFrame,
    end_day: int,
) -> pd.DataFrame:
    """Return invented promises: some short lines of the last days wait as backorders, some stock is put aside."""
    rows = []
    unserved = truth["ordered_units"] - truth["served_units"]
    is_short = (unserved > 0) & (truth["cancelled_units"] == 0) & (truth["ordered_units"] < 500)
    is_short &= (orders["day"] >= end_day - 2) & orders["customer"].notna()
    for row in orders.index[is_short]:
        if fraction(SEED, "waits", row) < 0.3:
            document = f"SO-{orders['document'][row]}-{orders['line'][row]}"
            promise = (document, 0, unserved[row], as_date(end_day + 14))
            rows.append((orders["sku"][row], orders["location_id"][row], *promise))
    for number, one in enumerate(series):
        outcome = outcomes[one.sku, one.location_id]
        units = min(one.supplier.multiple_units, outcome.recorded_units, outcome.physical_units)
        if units > 0 and one.mean_daily_units > 0.5 and fraction(SEED, "reserved", one.sku, one.location_id) < 0.02:
            due = as_date(end_day + 3 + int(5 * fraction(SEED, "due", one.sku, one.location_id)))
            rows.append((one.sku, one.location_id, f"SO-{900000 + number}", units, 0, due))
    columns = ["sku", "location_id", "document", "reserved_units", "backordered_units", "due_date"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:3])


def instants(seconds: Iterable[int]) -> pd.Series:
    """Return UTC seconds as timestamps."""
    return pd.Series(pd.to_datetime(np.asarray(seconds, dtype="int64"), unit="s", utc=True))


ARROW_TYPES = {
    "varchar": pa.string(),
    "integer": pa.int32(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "decimal(18,3)": pa.decimal128(18, 3),
    "decimal(18,4)": pa.decimal128(18, 4),
}


def contract_columns() -> dict[str, dict[str, str]]:
    """Return column names and types of every raw table, as the input contract declares them."""
    declared = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["sources"][0]["tables"]
    return {table["name"]: {column["name"]: column["data_type"] for column in table["columns"]} for table in declared}


def arrow_column(values: pd.Series, data_type: str) -> pa.Array:
    """Return a column in the contract's type; instants come as UTC seconds or as timestamps."""
    target = ARROW_TYPES[data_type]
    if data_type == "decimal(18,3)":
        return pc.cast(pa.array(values, type=pa.int32(), from_pandas=True), target)
    if data_type == "decimal(18,4)":
        return pc.cast(pc.round(pa.array(values, type=pa.float64(), from_pandas=True), 4), target)
    if data_type == "timestamp with time zone" and values.dtype.kind == "i":
        return pa.array(instants(values), type=target)
    return pa.array(values, type=target, from_pandas=True)


def write_parquet(columns: dict[str, pa.Array], path: Path) -> None:
    """Write columns as zstd Parquet, with nothing in it that differs between two runs."""
    table = pa.table(columns)
    # zstd finds the runs of identities, instants and small numbers itself: dictionaries cost half a megabyte there.
    plain = {"document", "reference", "line", "occurred_at", "recorded_at", "ordered_at", "day"}
    dictionary = [field.name for field in table.schema if field.name not in plain and not pa.types.is_int32(field.type)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        store_decimal_as_integer=True,
        row_group_size=131_072,
        data_page_version="2.0",
        use_dictionary=dictionary,
    )


def write_raw_parquet(frame: pd.DataFrame, name: str, output: Path) -> None:
    """Write a raw table as Parquet in the contract's columns and types."""
    columns = {
        column: arrow_column(frame[column], kind) if column in frame else pa.nulls(len(frame), ARROW_TYPES[kind])
        for column, kind in contract_columns()[name].items()
    }
    write_parquet(columns, output / name / f"{name}.parquet")


def write_raw_csv(frame: pd.DataFrame, name: str, output: Path) -> None:
    """Write a raw table as CSV in the contract's columns: prices with four digits, nothing for null."""
    text = pd.DataFrame({column: csv_column(frame, column, kind) for column, kind in contract_columns()[name].items()})
    write_csv(text, output / name / f"{name}.csv")


def csv_column(frame: pd.DataFrame, column: str, data_type: str) -> pd.Series:
    """Return a column as text."""
    if column not in frame:
        return pd.Series("", index=frame.index)
    form = {"decimal(18,4)": "{:.4f}", "timestamp with time zone": "{:%Y-%m-%dT%H:%M:%SZ}"}.get(data_type, "{}")
    text = frame[column].map(lambda value: "" if pd.isna(value) else form.format(value))
    return text.str.lower() if data_type == "boolean" else text


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as UTF-8 CSV with line feeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL, encoding="utf-8")


def write_truth(
    orders: pd.DataFrame,
    truth: pd.DataFrame,
    plantings: pd.DataFrame,
    outcomes: dict[SeriesKey, Outcome],
    output: Path,
) -> None:
    """Write what really happened: orders, stocks at the end of days on which they changed, record errors."""
    is_order = (orders["kind"] == SALE).to_numpy()
    ordered, units = orders[is_order], truth[is_order]
    order_columns = {
        "document": pa.array(ordered["document"], type=pa.string()),
        "line": pa.array(ordered["line"], type=pa.int32()),
        "ordered_at": pa.array(instants(ordered["second"]), type=pa.timestamp("us", tz="UTC")),
        "sku": pa.array(ordered["sku"], type=pa.string()),
        "location_id": pa.array(ordered["location_id"], type=pa.string()),
        "ordered_units": pa.array(units["ordered_units"], type=pa.int32()),
        "unserved_units": pa.array(units["ordered_units"] - units["served_units"], type=pa.int32()),
        "cancelled_units": pa.array(units["cancelled_units"], type=pa.int32()),
        "cancelled_served_units": pa.array(units["cancelled_served_units"], type=pa.int32()),
    }
    write_parquet(order_columns, output / "truth" / "orders.parquet")
    days = [(*key, *day) for key, outcome in sorted(outcomes.items()) for day in outcome.days]
    skus, locations, numbers, physical, recorded = (np.array(column) for column in zip(*days, strict=True))
    stock_columns = {
        "sku": pa.array(skus, type=pa.string()),
        "location_id": pa.array(locations, type=pa.string()),
        "day": pa.array([as_date(day) for day in numbers], type=pa.date32()),
        "physical_units": pa.array(physical, type=pa.int32()),
        "record_error_units": pa.array(recorded - physical, type=pa.int32()),
    }
    write_parquet(stock_columns, output / "truth" / "daily_stock.parquet")
    text = {name: csv_column(plantings, name, "timestamp with time zone") for name in ("occurred_at", "corrected_at")}
    write_csv(plantings.assign(**text), output / "truth" / "plantings.csv")


def write_photos(source: Path, output: Path) -> pd.DataFrame:
    """Write small photos of the classes that have most, of those in both parts of the source; return their table.

    photos/val keeps all of the source's validation part, photos/train is filled up from its training part.
    """
    names = pd.read_csv(source / "classes.csv").set_index("Class ID (int)")["Class Name (str)"]
    listed = pd.concat([pd.read_csv(source / f"{part}.csv") for part in ("train", "val")])
    listed = listed[listed["fine_id"].isin(listed["fine_id"][listed["path"].str.startswith("val/")])]
    most = listed.groupby("fine_id").size().sort_values(ascending=False, kind="stable").index[:PHOTO_CLASSES]
    rows = []
    for fine_id in most:
        label = str(names[fine_id])
        paths = listed.loc[listed["fine_id"] == fine_id, "path"]
        held_out = [path for path in paths if path.startswith("val/")]
        others = sorted(set(paths) - set(held_out), key=lambda path: fraction(SEED, path))
        for path in [*others[: PHOTOS_PER_CLASS - len(held_out)], *held_out]:
            part, name = path.split("/", 1)[0], Path(path).name
            photo_path = f"product_photos/photos/{part}/{label}/{name}"
            photo = smaller_photo(source / path)
            (output / photo_path).parent.mkdir(parents=True, exist_ok=True)
            (output / photo_path).write_bytes(photo)
            rows.append({"photo_path": photo_path, "label": label, "sha256": hashlib.sha256(photo).hexdigest()})
    return pd.DataFrame(rows).sort_values("photo_path")


def smaller_photo(path: Path) -> bytes:
    """Return a photo as a JPEG of at most PHOTO_SIDE pixels a side, without metadata."""
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=PHOTO_QUALITY, optimize=True)
        return buffer.getvalue()


def make(sources: Path, output: Path) -> None:
    """Read the sources, run the warehouse, write every file and print the figures that the README quotes."""
    orders = read_orders(sources / "online_retail" / "online_retail.parquet")
    world = make_world(orders, lead_time_ratios(sources / "deliveries" / "supply_deliveries.csv"))
    products = make_products(orders, world.clock)
    series = make_series(orders, products, world)
    plan_errors(series, world)
    outcomes = simulate(series, world)

    truth = order_truth(orders, outcomes, products)
    purchases, identity = purchase_orders(outcomes, world)
    sold, copies = shop_movements(orders, truth, outcomes)
    received, posted_receipts = receipt_movements(outcomes, identity, world)
    counted, posted_counts = count_movements(outcomes, world.clock)
    movements = pd.concat([sold, received, counted], ignore_index=True)
    movements = movements.sort_values(["recorded_at", "source", "document", "line", "revision"], kind="stable")
    posted = (posted_receipts, posted_counts)
    plantings = planting_table(series, outcomes, orders, copies, posted, identity, world.clock)

    notice = (Path(__file__).parent / "product_photos" / PHOTO_NOTICE).read_bytes()
    for name in [*contract_columns(), "truth"]:
        shutil.rmtree(output / name, ignore_errors=True)
    suppliers = pd.DataFrame(VENDORS).drop(columns=["share", "lead_time_days"])
    suppliers["minimum_order_value"] = suppliers["minimum_order_value"].astype("Int64")
    tables = {
        "products": products,
        "locations": LOCATIONS,
        "suppliers": suppliers,
        "supplier_terms": make_supplier_terms(series, products),
        "transfer_lanes": TRANSFER_LANES,
        "reservations": make_reservations(series, outcomes, orders, truth, world.end_day),
        "prices": make_prices(orders, products),
        "product_seasons": make_seasons(products),
        "calendar_events": make_calendar(world.clock),
        "product_photos": write_photos(sources / "grocery", output),
    }
    for name, frame in tables.items():
        write_raw_csv(frame, name, output)
    (output / "product_photos" / PHOTO_NOTICE).write_bytes(notice)
    tables |= {"stock_movements": movements, "purchase_order_lines": purchases}
    for name in ("stock_movements", "purchase_order_lines"):
        write_raw_parquet(tables[name], name, output)
    write_truth(orders, truth, plantings, outcomes, output)

    report_demand(orders, truth, series)
    report_stock(series, outcomes, world)
    report_records(tables, plantings, world)
    sizes = {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for folder in sorted(output.iterdir())
        if folder.is_dir()
    }
    print("bytes", sizes, "total", sum(sizes.values()))


def report_demand(orders: pd.DataFrame, truth: pd.DataFrame, series: Sequence[Series]) -> None:
    """Print how much of what was ordered could not be served, cancelled units apart."""
    mean = {(one.sku, one.location_id): one.mean_daily_units for one in series}
    rate = pd.Series(
        [mean.get(key, np.nan) for key in zip(orders["sku"], orders["location_id"], strict=True)], index=orders.index
    )
    demand = (truth["ordered_units"] - truth["cancelled_units"])[rate.notna()]
    lost = demand - (truth["served_units"] - truth["cancelled_served_units"])[rate.notna()]
    lines = truth[(orders["kind"] == SALE) & rate.notna()]
    print("source lines by kind (order, cancellation, return, correction)", orders["kind"].value_counts().to_dict())
    print(f"series {len(series)}; units {demand.sum()}, unserved {lost.sum()} = {lost.sum() / demand.sum():.4f}")
    print(f"order lines {len(lines)}, wholly unserved {(lines['served_units'] == 0).sum()}")
    print(f"order lines served in part {lines['served_units'].between(1, lines['ordered_units'] - 1).sum()}")
    band = pd.cut(rate[rate.notna()], [-1, 0.1, 0.5, 2, 10, np.inf])
    month = orders["day"].map({day: f"{as_date(day):%Y-%m}" for day in orders["day"].unique()})
    for name, group in (("depot", orders["location_id"]), ("mean units a day", band), ("month", month)):
        share = lost.groupby(group, observed=True).sum() / demand.groupby(group, observed=True).sum()
        print(f"unserved by {name}", {str(key): round(value, 4) for key, value in share.items()})


def report_stock(series: Sequence[Series], outcomes: dict[SeriesKey, Outcome], world: World) -> None:
    """Print how often shelves were empty."""
    cells = empty = 0
    for one in series:
        days = outcomes[one.sku, one.location_id].days
        ends = [*(day for day, *_ in days[1:]), world.end_day + 1]
        cells += world.end_day - one.list_day + 1
        empty += sum(
            end - max(day, one.list_day) for (day, units, _), end in zip(days, ends, strict=True) if units == 0
        )
    negative = sum(outcome.recorded_units < 0 for outcome in outcomes.values())
    print(f"days with an empty shelf {empty / cells:.4f} of {cells}; negative records at the end {negative}")


def report_records(tables: dict[str, pd.DataFrame], plantings: pd.DataFrame, world: World) -> None:
    """Print rows, lead times, errors and what will be held back."""
    movements, purchases = tables["stock_movements"], tables["purchase_order_lines"]
    print("rows", {name: len(frame) for name, frame in tables.items()})
    print("movements", movements["movement_type"].value_counts().to_dict())
    print("purchase lines", purchases["status"].value_counts().to_dict())
    owed = purchases[purchases["status"].isin(["open", "partly_received"])]
    print("owed lines", len(owed), "of them late", sum(owed["expected_date"] < as_date(world.end_day)))
    done = purchases[purchases["status"] == "received"]
    days = (done["received_at"].dt.normalize() - done["ordered_at"].dt.normalize()).dt.days
    print("lead time days", days.quantile([0.01, 0.05, 0.5, 0.95, 0.99]).to_dict(), "longest", days.max())
    print(plantings.groupby(["kind", "movement_type", "size"]).size().unstack(fill_value=0).to_string())
    planted = plantings[plantings["kind"] != "excess_correction"]
    is_open = planted["corrected_at"].isna()
    print(
        f"planted {planted['planting_id'].nunique()} errors in {len(planted)} rows, not corrected {is_open.sum()} rows"
    )
    is_refused = movements["unit_price"] < 0
    unknown = movements["sku"][~movements["sku"].isin(tables["products"]["sku"]) & ~is_refused]
    print(f"unknown sku {len(unknown)} rows of {unknown.nunique()} codes; negative price {is_refused.sum()} rows")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sample; return 0, or 2 where the sources are missing."""
    parser = argparse.ArgumentParser(description="Make the shipped sample from the public sources.")
    here = Path(__file__).resolve().parent
    parser.add_argument("--output", type=Path, default=here, help="folder to write to (default: beside this file)")
    options = parser.parse_args(arguments)
    sources = Path(os.environ.get("BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (sources / "online_retail" / "online_retail.parquet").is_file():
        print(f"no online_retail/online_retail.parquet in {sources}: set BENCH_DATA to the sources", file=sys.stderr)
        return 2
    make(sources, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
