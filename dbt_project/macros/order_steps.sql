{# Generated from ml/restock/steps.py by `make docs`: change it there. #}
{% macro order_steps() -%}
    {{ return([
        {"name": "expected_demand", "sign": 1, "stage": "level", "noun": "expected demand", "less": "", "comparative": ["higher", "lower"]},
        {"name": "large_orders", "sign": -1, "stage": "level", "noun": "demand bought to order", "less": "", "comparative": ["more", "less"]},
        {"name": "uncertainty", "sign": 1, "stage": "level", "noun": "units for uncertainty", "less": "", "comparative": ["more", "fewer"]},
        {"name": "expiring_lots", "sign": 1, "stage": "level", "noun": "units that expire", "less": "", "comparative": ["more", "fewer"]},
        {"name": "kept_level", "sign": 1, "stage": "level", "noun": "units kept of the level published last", "less": "", "comparative": ["more", "fewer"]},
        {"name": "on_hand", "sign": -1, "stage": "position", "noun": "stock on hand", "less": "", "comparative": ["more", "fewer"]},
        {"name": "on_order", "sign": -1, "stage": "position", "noun": "units on order", "less": "", "comparative": ["more", "fewer"]},
        {"name": "reserved", "sign": 1, "stage": "position", "noun": "reserved units", "less": "", "comparative": ["more", "fewer"]},
        {"name": "backordered", "sign": 1, "stage": "position", "noun": "backordered units", "less": "", "comparative": ["more", "fewer"]},
        {"name": "surplus", "sign": 1, "stage": "position", "noun": "", "less": "", "comparative": ["more", "fewer"]},
        {"name": "proposed_transfers", "sign": -1, "stage": "need", "noun": "units that proposed transfers bring", "less": "that the proposed transfers bring", "comparative": ["more", "fewer"]},
        {"name": "not_stocked", "sign": -1, "stage": "need", "noun": "units not kept in stock", "less": "that are not kept in stock", "comparative": ["more", "fewer"]},
        {"name": "after_last_sale", "sign": -1, "stage": "need", "noun": "units that would arrive after the last day of sale", "less": "that would arrive after the last day of sale", "comparative": ["more", "fewer"]},
        {"name": "above_reorder_point", "sign": -1, "stage": "need", "noun": "units that wait for the reorder point", "less": "until the reorder point is reached", "comparative": ["more", "fewer"]},
        {"name": "lost_before_arrival", "sign": -1, "stage": "need", "noun": "units likely to be lost before an order arrives", "less": "likely to be lost before an order arrives", "comparative": ["more", "fewer"]},
        {"name": "order_up_to_max", "sign": -1, "stage": "need", "noun": "units above the largest level allowed", "less": "above the largest level allowed", "comparative": ["more", "fewer"]},
        {"name": "covered", "sign": -1, "stage": "need", "noun": "units of items that last long enough", "less": "as what there is lasts long enough", "comparative": ["more", "fewer"]},
        {"name": "shelf_life", "sign": -1, "stage": "need", "noun": "units that would expire on the shelf", "less": "that would expire on the shelf", "comparative": ["more", "fewer"]},
        {"name": "dampened", "sign": -1, "stage": "need", "noun": "units too few to order yet", "less": "too few to order yet", "comparative": ["more", "fewer"]},
        {"name": "moq", "sign": 1, "stage": "packs", "noun": "units added for the minimum order", "less": "", "comparative": ["more", "fewer"]},
        {"name": "packs", "sign": 1, "stage": "packs", "noun": "units added to fill packs", "less": "", "comparative": ["more", "fewer"]},
        {"name": "not_worth_it", "sign": -1, "stage": "packs", "noun": "units not worth their cost", "less": "that would cost more to hold than they save", "comparative": ["more", "fewer"]},
        {"name": "max_order", "sign": -1, "stage": "packs", "noun": "units above the maximum order", "less": "above the maximum order", "comparative": ["more", "fewer"]},
        {"name": "max_stock", "sign": -1, "stage": "packs", "noun": "units above the maximum stock", "less": "above the maximum stock", "comparative": ["more", "fewer"]},
        {"name": "below_moq", "sign": -1, "stage": "packs", "noun": "units that limits leave below the minimum order", "less": "because limits leave less than the minimum order", "comparative": ["more", "fewer"]},
        {"name": "rejected", "sign": -1, "stage": "person", "noun": "units rejected", "less": "", "comparative": ["more", "fewer"]},
        {"name": "fixed_cost", "sign": -1, "stage": "sharing", "noun": "units that wait for an order worth its fixed cost", "less": "that wait: the supplier's order is not worth its fixed cost yet", "comparative": ["more", "fewer"]},
        {"name": "supplier_minimum", "sign": 1, "stage": "sharing", "noun": "units added for the supplier's minimum", "less": "", "comparative": ["more", "fewer"]},
        {"name": "held_back", "sign": -1, "stage": "sharing", "noun": "units held back by the budget or the supplier's minimum", "less": "held back by the budget or the supplier's minimum", "comparative": ["more", "fewer"]}
    ]) }}
{%- endmacro %}
