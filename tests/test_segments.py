import numpy as np
import pytest

from ml.segments import abc_class, demand_class


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([5, 6, 5, 6, 5, 6], "smooth"),
        ([1, 20, 1, 1, 30, 1], "erratic"),
        ([0, 5, 0, 5, 0, 5, 0, 0, 5], "intermittent"),
        ([1, 0, 0, 40, 0, 0, 2, 0], "lumpy"),
        ([0, 0, 0], "none"),
    ],
)
def test_demand_classes(history, expected):
    assert demand_class(np.array([history], dtype=float)) == [expected]


def test_abc_classes_split_the_value():
    assert abc_class(np.array([4.0, 70.0, 20.0, 6.0])) == ["C", "A", "A", "B"]
