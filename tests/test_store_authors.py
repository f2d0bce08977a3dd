"""Who brought an event, and on what: part of the chain, not of what happened."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from support.earlier_store import earlier_store

from serving.store import Store

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def movement(document: str = "d", **fields: Any) -> dict[str, Any]:
    return {
        "source": "pos",
        "document": document,
        "line": 1,
        "occurred_at": NOON,
        "sku": "MUG",
        "location_id": "NORTH",
        "movement_type": "sale",
        "quantity_units": -3,
        **fields,
    }


@pytest.mark.parametrize("broken", [[], [movement("x", quantity_units="many")]])
def test_author_and_device_are_kept(store, broken):
    store.append([movement(author="ann", device="phone-7"), movement("e"), *broken], source="api")
    second, first = store.movements_of("MUG", "NORTH")
    assert (first["author"], first["device"]) == ("ann", "phone-7")
    assert (second["author"], second["device"]) == (None, None)
    assert store.verify().is_whole


def test_what_another_author_tells_again_is_known(store):
    store.append([movement(author="ann")], source="api")
    assert store.append([movement(author="bob", device="till")], source="api").duplicate == 1


@pytest.mark.parametrize(
    ("document", "column", "value"), [("d", "author", "bob"), ("d", "author", None), ("e", "author", "eve")]
)
def test_an_author_that_is_changed_removed_or_added_breaks_the_chain(store, document, column, value):
    store.append([movement(author="ann"), movement("e")], source="api")
    with store._database.write() as connection:
        change = text(f"UPDATE events SET {column} = :value WHERE document = :document")
        connection.execute(change, {"value": value, "document": document})
    assert "an event was changed" in store.verify().problems[0]


def test_the_author_of_a_decision_stands_with_its_event(store):
    override = {"event_type": "policy_override", "event_id": "p", "occurred_at": NOON, "scope": "default"}
    override |= {"setting": "target_value", "value": "0.9", "valid_from": "2011-01-01", "reason": "season"}
    store.append([override | {"author": "ann", "device": "console"}], source="console")
    with store._database.read() as connection:
        row = connection.execute(text("SELECT author, device FROM events")).one()
    assert tuple(row) == ("ann", "console")
    assert store.decisions_since(0)[0]["author"] == "ann"


def test_events_of_a_version_without_authors_verify(tmp_path):
    url = f"sqlite:///{tmp_path}/earlier.sqlite"
    row = ["pos:d:1:0", "movement", "pos", "d", 1, 0, 9, 9, "MUG", "NORTH", "sale", -3000, None, None, None, None, None]
    content = json.dumps(["0" * 64, 1, 1, "api", 10, [row]], separators=(",", ":"))
    chain_hash = hashlib.sha256(content.encode()).hexdigest()
    with earlier_store(url, "0004") as connection:
        connection.exec_driver_sql(f"INSERT INTO events VALUES (1, {', '.join('?' * 17)})", tuple(row))
        connection.exec_driver_sql("INSERT INTO batches VALUES (1, 1, 1, 'api', 10, ?, ?)", ("0" * 64, chain_hash))
        connection.exec_driver_sql("UPDATE ledger_head SET sequence = 1, batch = 1, chain_hash = ?", (chain_hash,))
    Store.migrate(url)
    with Store.open(url) as store:
        assert store.verify([(1, chain_hash)]).is_whole
        store.append([movement("e", author="ann")], source="api")
        assert store.verify([(1, chain_hash)]).is_whole
