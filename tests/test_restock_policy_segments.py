"""Segments: the predicate says who belongs, and what cannot be read is named."""

import pandas as pd
import pytest

from ml.restock.policy_segments import segment_members

ITEMS = pd.DataFrame(
    {
        "sku": ["MUG", "CUP", "JAR"],
        "location_id": ["N", "N", "S"],
        "location_type": ["store", "store", "warehouse"],
        "abc_class": ["A", "A", "C"],
        "xyz_class": ["X", "Z", "X"],
        "category": ["tea and coffee", "glass", None],
        "unit_cost": [5.0, 20.0, 1.0],
    }
)


@pytest.mark.parametrize(
    ("segment", "members"),
    [
        ("abc_class=A", ["MUG", "CUP"]),
        ("abc_class = A and xyz_class!=X", ["CUP"]),
        ("unit_cost>=5", ["MUG", "CUP"]),
        ("unit_cost<5 and location_id=S", ["JAR"]),
        ("category=glass", ["CUP"]),
        ("location_type=store", ["MUG", "CUP"]),
        ('category="tea and coffee"', ["MUG"]),
        ('abc_class=A AND category!="tea and coffee"', ["CUP"]),
    ],
)
def test_an_item_belongs_where_every_condition_holds(segment: str, members: list[str]) -> None:
    assert ITEMS.loc[segment_members(segment, ITEMS), "sku"].tolist() == members


@pytest.mark.parametrize(
    ("segment", "told"),
    [
        ("A", "'A' is not a condition; write abc_class=A"),
        ("abc_class=A and", "a condition is missing"),
        ("", "a condition is missing"),
        ("and abc_class=A", "a condition is missing"),
        ("abc_class=A and and unit_cost>5", "a condition is missing"),
        ("category=tea and coffee", "'coffee' is not a condition.* put a value with `and` in double quotes"),
        ('category="tea', "is not a condition"),
        ('category=""', "is not a condition"),
        ("colour=red", "names 'colour'; the columns are abc_class"),
        ("abc_class>A", "abc_class is text; compare it with = or !="),
        ("unit_cost>cheap", "'cheap' is not a number"),
        ("unit_cost>nan", "'nan' is not a number"),
    ],
)
def test_a_segment_that_cannot_be_read_is_named(segment: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        segment_members(segment, ITEMS)
