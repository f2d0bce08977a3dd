"""The steps of an order: the list and what follows from it."""

import pytest
from test_restock_recommendation import random_world

from ml.restock import TERM_NAMES, recommend
from ml.restock.steps import STEPS
from orchestration.warehouse.macros import generated_macros


@pytest.mark.parametrize("seed", range(8))
def test_a_step_after_the_position_changes_the_order_by_its_sign(seed: int):
    _, terms, _ = recommend(*random_world(seed))
    signs = {step.name: step.sign for step in STEPS if step.stage not in ("level", "position")}
    after = terms[terms["term"].isin(signs)]
    assert len(after) > 10
    assert (after["units"] * after["term"].map(signs) > 0).all()


def test_the_number_of_a_step_is_its_place_in_the_list():
    _, terms, _ = recommend(*random_world(0))
    assert (terms["step"] == terms["term"].map(TERM_NAMES.index) + 1).all()


def test_macros_of_dbt_are_those_that_the_lists_of_ml_make():
    stale = [file.name for file, text in generated_macros().items() if file.read_text(encoding="utf-8") != text]
    assert not stale, f"{stale}: run `make docs`"
