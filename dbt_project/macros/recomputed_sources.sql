{#
    CTEs ending in `sources`: each recommendation beside its terms as their own sources have them. They follow those of
    recomputed_needs.
#}
{% macro recomputed_sources() %}
recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

recorded as (
    select
        sku,
        location_id,
        sum(term_units) as recorded_order_units,
        sum(case when term = 'moq' then term_units else 0 end) as recorded_moq_added_units,
        sum(case when term = 'packs' then term_units else 0 end) as recorded_multiple_added_units,
        sum(case when term = 'supplier_minimum' then term_units else 0 end) as recorded_supplier_minimum_added_units,
        -sum(case when term in {{ order_steps_of(['need', 'packs', 'person', 'sharing'], sign=-1) }} then term_units else 0 end)
            as recorded_reduced_units,
        -sum(case when term = 'rejected' then term_units else 0 end) as recorded_rejected_units,
        -sum(case when term = 'proposed_transfers' then term_units else 0 end) as recorded_proposed_transfers_units,
        sum(case when term in {{ order_steps_of(['person', 'sharing']) }} then 0 else term_units end) as needed_units
    from {{ ref('restock_order_steps') }}
    group by sku, location_id
),

-- Whatever is needed is rejected where the rejection names no quantity.
rejected_needs as (
    select sku, location_id, coalesce({{ units('rejected_until_units') }}, 1000000000000) as rejected_up_to_units
    from {{ source('predictions', 'rejected_needs') }}
),

-- The rule (r, Q) orders whole lots, which are then filled to packs.
lots as (
    select
        sku,
        location_id,
        order_quantity_units as lot_units,
        coalesce(order_up_to_max_units, max_order_units, max_stock_units) is not null as is_limited
    from policies
    where order_rule = 'reorder_point_quantity'
),

sources as (
    select
        recommendations.*,
        positions.as_of_date as source_as_of_date,
        case when positions.is_stock_known then greatest(positions.on_hand_units, 0) else recommendations.on_hand_units end as source_on_hand_units,
        coalesce(promised.reserved_units, 0) + coalesce(leaving.out_units, 0) as source_reserved_units,
        coalesce(on_order.transfer_in_units, 0) as source_transfer_in_units,
        coalesce(leaving.out_units, 0) as source_transfer_out_units,
        coalesce(on_order.proposed_in_units, 0) as source_proposed_transfer_in_units,
        coalesce(leaving.proposed_out_units, 0) as source_proposed_transfer_out_units,
        coalesce(recent_sales.last_4_weeks_units, 0) as source_last_4_weeks_units,
        intervals.unit_margin,
        intervals.next_order_in_days,
        intervals.lead_time_days as source_lead_time_days,
        coalesce(promised.backordered_units, 0) as source_backordered_units,
        coalesce(promised.later_units, 0) as source_promised_later_units,
        coalesce(on_order.in_time_units, 0) as source_on_order_units,
        coalesce(on_order.too_late_units, 0) as source_on_order_not_counted_units,
        coalesce(on_order.doubtful_units, 0) as source_on_order_doubtful_units,
        intervals.protection_days as source_protection_days,
        intervals.unit_cost as source_unit_cost,
        intervals.multiple_units,
        intervals.moq_units as source_moq_units,
        lots.lot_units,
        lots.is_limited,
        case
            when coalesce(recorded.needed_units, 0) <= rejected_needs.rejected_up_to_units then coalesce(recorded.needed_units, 0)
            else 0
        end as source_rejected_units,
        {% for term in ['order', 'moq_added', 'multiple_added', 'supplier_minimum_added', 'reduced', 'rejected', 'proposed_transfers'] %}
        coalesce(recorded.recorded_{{ term }}_units, 0) as recorded_{{ term }}_units,
        {% endfor %}
        expected.expected_demand_units - least(positions.sold_since_units, expected.first_day_units)
            as source_expected_demand_units
    from recommendations
    left join positions
        on recommendations.sku = positions.sku and recommendations.location_id = positions.location_id
    left join intervals
        on recommendations.sku = intervals.sku and recommendations.location_id = intervals.location_id
    left join on_order
        on recommendations.sku = on_order.sku and recommendations.location_id = on_order.location_id
    left join lots
        on recommendations.sku = lots.sku and recommendations.location_id = lots.location_id
    left join expected
        on recommendations.sku = expected.sku and recommendations.location_id = expected.location_id
    left join recorded
        on recommendations.sku = recorded.sku and recommendations.location_id = recorded.location_id
    left join rejected_needs
        on recommendations.sku = rejected_needs.sku and recommendations.location_id = rejected_needs.location_id
    left join leaving
        on recommendations.sku = leaving.sku and recommendations.location_id = leaving.location_id
    left join promised
        on recommendations.sku = promised.sku and recommendations.location_id = promised.location_id
    left join recent_sales
        on recommendations.sku = recent_sales.sku and recommendations.location_id = recent_sales.location_id
    where recommendations.status <> 'exception'
)
{% endmacro %}
