"""Quarantine: nothing is dropped, everything can be corrected, and the counts balance for ever."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import text
from support.earlier_store import earlier_store

from serving.store import Place, Refusal, SourceTaken, StillRefused, Store, UnknownRow, WrongState
from serving.store.schema import VERSION

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def movement(document: str = "d1", units: Any = -3, **fields: Any) -> dict[str, Any]:
    return {
        "source": "pos",
        "document": document,
        "line": 1,
        "occurred_at": "2011-03-01T12:00:00Z",
        "sku": "MUG",
        "location_id": "NORTH",
        "movement_type": "sale",
        "quantity_units": units,
        **fields,
    }


def held(store: Store) -> int:
    (row,) = store.quarantine()
    return row.quarantine_id


def test_a_refused_event_is_kept_with_place_text_rule_and_reason(store):
    place = Place("movements/0@41", b'{"sku": "\xff"}')
    store.append([], source="stream", refusals=[Refusal(place, "json", "byte 9 is no UTF-8")])
    (row,) = store.quarantine()
    assert (row.channel, row.position, row.original) == ("stream", "movements/0@41", b'{"sku": "\xff"}')
    assert (row.rule, row.reason, row.state) == ("json", "byte 9 is no UTF-8", "open")


def test_an_event_without_a_place_is_kept_as_json(store):
    store.append([movement(units="many")], source="api")
    assert store.quarantine()[0].text == (
        '{"document": "d1", "line": 1, "location_id": "NORTH", "movement_type": "sale", '
        '"occurred_at": "2011-03-01T12:00:00Z", "quantity_units": "many", "sku": "MUG", "source": "pos"}'
    )


def test_the_places_of_refused_events_are_those_given(store):
    places = [Place(f"file.csv:{n}", b"row") for n in range(3)]
    store.append([movement("a"), movement("b", "x"), movement("c")], source="landing", places=places)
    assert store.quarantine()[0].position == "file.csv:1"


def test_places_must_match_events(store):
    with pytest.raises(ValueError, match="1 places were given for 2 events"):
        store.append([movement("a"), movement("b")], source="api", places=[Place("x", b"")])


def test_a_row_of_an_earlier_version_is_open_after_the_migration(tmp_path):
    url = f"sqlite:///{tmp_path}/earlier.sqlite"
    with earlier_store(url, "0002") as connection:
        connection.execute(
            text("INSERT INTO quarantine VALUES (1, 'api', '', x'7b7d', '', 'quantity', 'many', NULL, 'held', 1, NULL)")
        )
    assert Store.migrate(url) == int(VERSION)
    with Store.open(url) as store:
        assert [row.state for row in store.quarantine()] == ["open"]


def test_a_corrected_row_can_be_released(store):
    store.append([movement(units="many")], source="api")
    number = held(store)
    store.quarantine_fix(number, store.quarantine()[0].text.replace("many", "-7"), author="ann", reason="typing error")
    assert store.quarantine_release(number, author="ann", reason="checked").accepted == 1
    row, steps = store.quarantine_show(number)
    assert (row.state, b"many" in row.original) == ("released", True)
    assert [(step["action"], step["author"]) for step in steps] == [("fixed", "ann"), ("released", "ann")]
    assert store.live_stock("MUG", "NORTH").on_hand_units == -7


def test_a_row_that_is_still_wrong_stays_open(store):
    store.append([movement(units="many")], source="api")
    with pytest.raises(StillRefused, match="'many' is not a number"):
        store.quarantine_release(held(store), author="ann", reason="hope")
    assert store.quarantine_counts() == {"added": 1, "open": 1, "released": 0, "discarded": 0}


def test_a_conflict_is_refused_again_until_its_revision_is_raised(store):
    store.append([movement()], source="api")
    store.append([movement(units=-9)], source="api")
    number = held(store)
    with pytest.raises(StillRefused, match="higher revision"):
        store.quarantine_release(number, author="ann", reason="hope")
    text = store.quarantine()[0].text.replace('"line": 1', '"line": 1, "revision": 1')
    store.quarantine_fix(number, text, author="ann", reason="it is a correction")
    store.quarantine_release(number, author="ann", reason="checked")
    assert store.live_stock("MUG", "NORTH").on_hand_units == -9


def test_a_release_passes_the_check_of_its_door(store):
    store.append([movement(units="many")], source="stream")
    number = held(store)
    store.quarantine_fix(number, store.quarantine()[0].text.replace('"many"', "-7"), author="ann", reason="typing")
    with pytest.raises(StillRefused, match="the schema says no"):
        store.quarantine_release(number, author="ann", reason="x", check=lambda event: "the schema says no")


def test_text_that_is_no_json_is_not_released(store):
    store.quarantine_add(source="landing", position="f.csv:3", original="a;b", rule="columns", reason="2 of 14 columns")
    with pytest.raises(StillRefused, match="not a JSON event"):
        store.quarantine_release(held(store), author="ann", reason="x")


def test_a_discarded_row_stays_readable_and_is_settled(store):
    store.append([movement(units="many")], source="api")
    number = held(store)
    store.quarantine_discard(number, author="ann", reason="test data")
    assert store.quarantine() == []
    assert store.quarantine_show(number)[0].state == "discarded"
    for step in (store.quarantine_discard, store.quarantine_release):
        with pytest.raises(WrongState, match="discarded already"):
            step(number, author="ann", reason="again")


def test_a_number_that_is_not_there_is_named(store):
    with pytest.raises(UnknownRow, match="no quarantined row 7"):
        store.quarantine_show(7)


def test_rows_page_by_number_and_filter_by_channel(store):
    for number in range(5):
        store.quarantine_add(source="ab"[number % 2], position=str(number), original="x", rule="r", reason="w")
    assert [row.position for row in store.quarantine(after=1, limit=2)] == ["1", "2"]
    assert [row.position for row in store.quarantine(source="b")] == ["1", "3"]


@pytest.mark.parametrize("seed", range(5))
def test_counts_balance_whatever_is_done(store, seed):
    rng = Random(seed)
    rows_in = accepted = duplicate = 0
    for number in range(40):
        events = [movement(f"d{rng.randrange(30)}", rng.choice([-1, -2, "many"])) for _ in range(rng.randint(1, 4))]
        report = store.append(events, source="api")
        rows_in += len(events)
        accepted += report.accepted
        duplicate += report.duplicate
        for row in store.quarantine()[: rng.randint(0, 1)]:
            with suppress(StillRefused):
                rng.choice([store.quarantine_release, store.quarantine_discard])(
                    row.quarantine_id, author="ann", reason=f"step {number}"
                )
        counts = store.quarantine_counts()
        assert counts["added"] == counts["open"] + counts["released"] + counts["discarded"]
        assert rows_in == accepted + duplicate + counts["added"]


def test_an_event_from_the_future_is_quarantined_beyond_the_tolerance(tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    Store.migrate(url)
    with Store.open(url, clock=lambda: NOON, clock_tolerance=timedelta(minutes=5)) as store:
        events = [
            movement("a", occurred_at=NOON + timedelta(minutes=5)),
            movement("b", occurred_at=NOON.replace(hour=13)),
        ]
        assert store.append(events, source="api").accepted == 1
        assert store.quarantine()[0].rule == "occurred_at_in_the_future"


def test_movements_of_a_source_that_comes_by_another_door_are_quarantined(store):
    store.take_authority("pos", "landing")
    assert store.append([movement(), movement(source="wms")], source="api").accepted == 1
    (row,) = store.quarantine()
    assert row.rule == "second_channel"
    assert "count facts twice" in row.reason
    with pytest.raises(StillRefused, match="count facts twice"):
        store.quarantine_release(row.quarantine_id, author="ann", reason="x")


def test_a_source_of_the_online_store_is_refused_to_other_doors_until_handed_over(store):
    store.append([movement()], source="api")
    with pytest.raises(SourceTaken, match="online_store"):
        store.take_authority("pos", "landing")
    store.take_authority("pos", "landing", transfer=True)
    assert store.authorities() == {"pos": "landing"}
