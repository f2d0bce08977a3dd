"""A scripted outside world: shops that sell, suppliers that deliver late or in parts, and what the ERP ordered.

Everything in it is drawn from a seed, item by item and day by day, so that two worlds of one seed live the same days.

Belongs here: what happens outside, and the files that tell of it. Does not: the product, and what must hold of it
(lived_days.py).
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

Key = tuple[str, str]
Row = dict[str, Any]

MOVEMENT_COLUMNS = [
    *("source", "document", "line", "revision", "occurred_at", "sku", "location_id", "movement_type"),
    *("quantity_units", "unit_price", "reference", "reason"),
]
ORDER_COLUMNS = [
    *("purchase_order_id", "line", "supplier_id", "sku", "location_id", "ordered_at", "expected_date"),
    *("ordered_units", "received_units", "received_at", "status", "proposal_id"),
]
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True)
class Item:
    """A product at a location: what it sells, and on what terms it is bought.

    Attributes:
        daily_units: mean demand of an average open day.
        late_days: by how many days an order of it may come late; each number of days is as likely.
    """

    sku: str
    location_id: str
    supplier_id: str
    daily_units: float
    lead_days: int
    pack: int
    moq: int
    cost: float = 6.0
    price: float = 10.0
    late_days: int = 3

    @property
    def key(self) -> Key:
        return self.sku, self.location_id


@dataclass
class OrderLine:
    """A purchase order line as the ERP keeps it.

    Attributes:
        deliveries: days on which the supplier comes, and with how much.
        unloaded: units that have come.
        received: units of which the ERP has been told.
    """

    number: str
    item: Item
    ordered_at: datetime
    expected: date
    units: int
    proposal_id: str
    deliveries: list[tuple[date, int]]
    status: str = "open"
    unloaded: int = 0
    received: int = 0
    received_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.status == "cancelled" or self.unloaded >= self.units

    @property
    def row(self) -> Row:
        return {
            "purchase_order_id": self.number,
            "line": 1,
            "supplier_id": self.item.supplier_id,
            "sku": self.item.sku,
            "location_id": self.item.location_id,
            "ordered_at": self.ordered_at.isoformat(),
            "expected_date": self.expected.isoformat(),
            "ordered_units": self.units,
            "received_units": self.received,
            "received_at": self.received_at.isoformat() if self.received_at else "",
            "status": self.status,
            "proposal_id": self.proposal_id,
        }


def mind_of(seed: int, *about: object) -> np.random.Generator:
    """Return the draws of one matter, whatever else is drawn."""
    return np.random.default_rng([seed, *("/".join(map(str, about)).encode())])


@dataclass
class World:
    """The shops, their suppliers and the ERP.

    Attributes:
        items: what is sold where.
        seed: seed of everything that is drawn.
        shelf: units that are really there.
        lines: purchase order lines by number.
        closed_weekdays: weekdays on which no shop opens; Monday is 0.
        zone: time zone of every shop.
    """

    items: Sequence[Item]
    seed: int = 0
    shelf: dict[Key, int] = field(default_factory=dict)
    lines: dict[str, OrderLine] = field(default_factory=dict)
    closed_weekdays: tuple[int, ...] = (6,)
    zone: ZoneInfo = BERLIN
    _booked: list[Row] = field(default_factory=list)
    _open: defaultdict[Key, list[OrderLine]] = field(default_factory=lambda: defaultdict(list))
    _changed: set[str] = field(default_factory=set)
    _numbers: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        """Return a local time as an instant in UTC."""
        return datetime.combine(day, time(hour, minute), self.zone).astimezone(UTC)

    def is_open(self, day: date) -> bool:
        return day.weekday() not in self.closed_weekdays

    def book(self, item: Item, kind: str, units: int, at: datetime, *, source: str = "wms", **more: Any) -> Row:
        """Let something happen to a shelf; the next feed tells of it."""
        prefix = f"{kind[:1].upper()}{at:%y%m%d}-{item.location_id}"
        self._numbers[prefix] += 1
        row = {
            "source": source,
            "document": prefix,
            "line": self._numbers[prefix],
            "revision": 0,
            "occurred_at": at.isoformat(),
            "sku": item.sku,
            "location_id": item.location_id,
            "movement_type": kind,
            "quantity_units": units,
            "unit_price": item.price if kind == "sale" else "",
            "reference": "",
            "reason": "",
            **more,
        }
        self.shelf[item.key] = units if kind == "count" else self.shelf.get(item.key, 0) + units
        self._booked.append(row)
        return row

    def live(self, day: date) -> None:
        """Live a day: trucks come at ten, and a shop that is open sells at a quarter past eight and at five."""
        if not self.is_open(day):
            return
        for item in self.items:
            weekday = 1.35 if day.weekday() in (4, 5) else 0.85
            mean = item.daily_units * weekday
            early, late = mind_of(self.seed, "demand", *item.key, day).poisson([0.2 * mean, 0.8 * mean])
            self._sell(item, int(early), self.at(day, 8, 15))
            for line in self.open_lines(item):
                self._unload(line, day)
            self._sell(item, int(late), self.at(day, 17))

    def open_lines(self, item: Item) -> list[OrderLine]:
        """Return the orders of an item of which something is still to come."""
        still = [line for line in self._open[item.key] if not line.is_over]
        self._open[item.key] = still
        return list(still)

    def _sell(self, item: Item, wanted: int, at: datetime) -> None:
        sold = min(wanted, max(self.shelf.get(item.key, 0), 0))
        if sold:
            self.book(item, "sale", -sold, at, source="pos")

    def _unload(self, line: OrderLine, day: date, hour: int = 10) -> None:
        due = sum(units for arrives, units in line.deliveries if arrives <= day) - line.unloaded
        if due > 0:
            self.book(line.item, "receipt", due, self.at(day, hour), reference=f"{line.number}:1")
            line.unloaded += due

    def receive_early(self, line: OrderLine, day: date, hour: int = 6) -> None:
        """Let the whole of an order come before the shop opens."""
        line.deliveries = [(day, line.units)]
        self._unload(line, day, hour)

    def order(
        self, item: Item, units: int, at: datetime, proposal_id: str = "", *, number: str = "", in_parts: bool = False
    ) -> OrderLine:
        """Let the ERP order; when the supplier delivers is drawn."""
        number = number or f"PO-{at:%y%m%d}-{item.sku}-{item.location_id}"
        day = at.astimezone(self.zone).date()
        expected = day + timedelta(days=item.lead_days)
        late = int(mind_of(self.seed, "late", *item.key, day).integers(0, item.late_days + 1))
        arrives = expected + timedelta(days=late)
        while not self.is_open(arrives):
            arrives += timedelta(days=1)
        first = units // 2 if in_parts else units
        deliveries = [(arrives, first), (arrives + timedelta(days=3), units - first)]
        self.lines[number] = OrderLine(number, item, at, expected, units, proposal_id, deliveries)
        self._open[item.key].append(self.lines[number])
        self._changed.add(number)
        return self.lines[number]

    def cancel(self, number: str) -> None:
        self.lines[number].status = "cancelled"
        self._changed.add(number)

    def feed(self, until: datetime, *, silent: Sequence[str] = ()) -> list[Row]:
        """Take the movements that the shops send by an instant; silent shops send theirs with a later feed."""
        sent, kept = [], []
        for row in self._booked:
            is_sent = datetime.fromisoformat(row["occurred_at"]) < until and row["location_id"] not in silent
            (sent if is_sent else kept).append(row)
        self._booked = kept
        return sent

    def changed_lines(self, rows: Iterable[Row]) -> list[Row]:
        """Take the order lines that changed: new ones, cancelled ones, and those whose receipts are sent."""
        for row in rows:
            if row["movement_type"] == "receipt":
                line = self.lines[row["reference"].split(":")[0]]
                line.received += row["quantity_units"]
                line.received_at = datetime.fromisoformat(row["occurred_at"])
                line.status = "received" if line.received >= line.units else "partly_received"
                self._changed.add(line.number)
        changed = [self.lines[number].row for number in sorted(self._changed)]
        self._changed.clear()
        return changed


def write_day(landing: Path, name: str, rows: Sequence[Row], lines: Sequence[Row]) -> None:
    """Deliver movements and order lines as files of one name."""
    write_rows(landing, "stock_movements", name, MOVEMENT_COLUMNS, rows)
    write_rows(landing, "purchase_order_lines", name, ORDER_COLUMNS, lines)


def write_rows(landing: Path, table: str, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Deliver a file of a table; without rows there is none."""
    if not rows:
        return
    path = landing / table / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def fold(rows: Iterable[Row], until: datetime) -> dict[Key, int]:
    """Return the stock of each item from what was told of the time before an instant.

    The highest revision of a line counts. Movements add up in the order of time; a count says what is there, and comes
    after the movements of its instant.
    """
    latest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        identity = row["source"], row["document"], row["line"]
        if identity not in latest or row["revision"] > latest[identity]["revision"]:
            latest[identity] = row
    stock: dict[Key, int] = defaultdict(int)
    counting = [row for row in latest.values() if datetime.fromisoformat(row["occurred_at"]) < until]
    for row in sorted(counting, key=lambda row: (row["occurred_at"], row["movement_type"] == "count")):
        key = row["sku"], row["location_id"]
        stock[key] = row["quantity_units"] if row["movement_type"] == "count" else stock[key] + row["quantity_units"]
    return dict(stock)


def open_units(rows: Iterable[Row], lines: Iterable[Row], until: datetime) -> dict[Key, int]:
    """Return the units of each item that are still to come of the order lines that were told, as of an instant.

    What has come is what its receipts brought, or what the line says of them, whichever is more.
    """
    receipts: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["movement_type"] == "receipt" and datetime.fromisoformat(row["occurred_at"]) < until:
            receipts[row["reference"]] += row["quantity_units"]
    coming: dict[Key, int] = defaultdict(int)
    for line in lines:
        is_current = not line["received_at"] or datetime.fromisoformat(line["received_at"]) < until
        came = max(line["received_units"] if is_current else 0, receipts[f"{line['purchase_order_id']}:{line['line']}"])
        is_over = line["status"] == "cancelled" or (is_current and line["status"] == "received")
        if not is_over:
            coming[line["sku"], line["location_id"]] += max(line["ordered_units"] - came, 0)
    return coming


def retyped(row: Row, days: int) -> Row:
    """Return a movement with its date mistyped by so many days."""
    return row | {"occurred_at": (datetime.fromisoformat(row["occurred_at"]) + timedelta(days=days)).isoformat()}


def make_items(products: int, shops: Sequence[str], seed: int) -> list[Item]:
    """Return products of many speeds at each shop, from three suppliers with terms of their own."""
    made = []
    for number in range(products):
        supplier, lead_days = (("S1", 5), ("S2", 8), ("S3", 11))[number % 3]
        speed = (0.6, 1.5, 3.0, 6.0, 10.0)[number % 5]
        pack = (1, 6, 12)[number % 7 % 3]
        for shop in shops:
            factor = float(mind_of(seed, "speed", number, shop).uniform(0.7, 1.3))
            moq = 2 * pack if number % 4 == 3 else pack
            made.append(Item(f"P{number:02}", shop, supplier, speed * factor, lead_days, pack, moq))
    return made


def make_history(world: World, first: date, days: int) -> None:
    """Live the days before the test: a count in the beginning, then what comes and goes.

    Orders of the past come from somebody who looks at the shelf twice a week.
    """
    for item in world.items:
        opening = int(item.daily_units * (item.lead_days + 10)) + item.pack
        world.book(item, "count", opening, world.at(first, 5))
    for number in range(days):
        day = first + timedelta(days=number)
        world.live(day)
        if day.weekday() not in (0, 3):
            continue
        for item in world.items:
            coming = sum(line.units - line.unloaded for line in world.open_lines(item))
            level = item.daily_units * (item.lead_days + 9) + item.pack
            if world.shelf[item.key] + coming < level - 3 * item.daily_units:
                missing = max(level - world.shelf[item.key] - coming, item.moq)
                world.order(item, int(-(-missing // item.pack)) * item.pack, world.at(day, 12))


def write_masters(landing: Path, items: Sequence[Item], first: date, days: int) -> None:
    """Deliver products, locations, suppliers, their terms and the closed days."""
    write_products(landing, "products", items)
    write_locations(landing, "locations", items)
    write_rows(
        landing,
        "suppliers",
        "suppliers",
        ["supplier_id", "supplier_name", "minimum_order_value", "review_period_days", "order_weekdays"],
        [
            {"supplier_id": "S1", "supplier_name": "Alpha", "review_period_days": 3},
            {"supplier_id": "S2", "supplier_name": "Beta", "review_period_days": 7},
            {"supplier_id": "S3", "supplier_name": "Gamma", "review_period_days": 7, "order_weekdays": "Mon Thu"},
        ],
    )
    write_rows(
        landing,
        "supplier_terms",
        "supplier_terms",
        ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"],
        [
            {
                "sku": item.sku,
                "location_id": item.location_id,
                "supplier_id": item.supplier_id,
                "lead_time_days": item.lead_days,
                "moq_units": item.moq,
                "order_multiple_units": item.pack,
                "unit_cost": item.cost,
            }
            for item in items
        ],
    )
    closed = [day for day in (first + timedelta(days=number) for number in range(days + 90)) if day.weekday() == 6]
    write_rows(
        landing,
        "calendar_events",
        "calendar_events",
        ["date", "country", "event_name", "event_type"],
        [{"date": day.isoformat(), "country": "DE", "event_name": "Sunday", "event_type": "closed"} for day in closed],
    )


def write_locations(landing: Path, name: str, items: Sequence[Item], day_ends_at: str = "") -> None:
    """Deliver the shops, with the time at which their day is over where they declare one."""
    write_rows(
        landing,
        "locations",
        name,
        ["location_id", "location_name", "location_type", "country", "time_zone", "day_ends_at"],
        [
            {
                "location_id": shop,
                "location_name": f"Shop {shop}",
                "location_type": "store",
                "country": "DE",
                "time_zone": "Europe/Berlin",
                "day_ends_at": day_ends_at,
            }
            for shop in sorted({item.location_id for item in items})
        ],
    )


def write_products(landing: Path, name: str, items: Sequence[Item], discontinued: Iterable[str] = ()) -> None:
    """Deliver the products of items, some of them as no longer active."""
    products = {item.sku: item for item in items}
    gone = set(discontinued)
    write_rows(
        landing,
        "products",
        name,
        ["sku", "product_name", "category", "unit_cost", "unit_price", "case_pack_units", "is_active"],
        [
            {
                "sku": item.sku,
                "product_name": f"Product {item.sku}",
                "category": "food" if number % 2 else "household",
                "unit_cost": item.cost,
                "unit_price": item.price,
                "case_pack_units": item.pack,
                "is_active": str(item.sku not in gone).lower(),
            }
            for number, item in enumerate(products.values())
        ],
    )
