{{ config(meta={'dagster': {'ref': {'name': 'restock_recommendations'}}}) }}

{#
    Each term of each recommendation made again from its own source; a row per term that differs. Units agree to 0.001; the
    forecast is a sum over many days, which each side rounds in its own way: 0.01, and a millionth of large sums.
#}

with {{ recomputed_needs() }},

{{ recomputed_sources() }},

positions_made_again as (
    select
        *,
        source_on_hand_units + source_on_order_units - source_backordered_units - source_reserved_units - unrecorded_sales_units as source_position_units
    from sources
),

shortfalls_made_again as (
    select
        *,
        greatest(order_up_to_units - source_position_units, 0) as source_shortfall_units,
        least(source_proposed_transfer_in_units, greatest(order_up_to_units - source_position_units, 0)) as source_proposed_transfers_units,
        -- What is taken off comes before minimum and packs, save for a limit on the order itself.
        greatest(order_up_to_units - source_position_units, 0) - reduced_units as wanted_units
    from positions_made_again
),

orders_made_again as (
    select
        *,
        case
            -- A limit cuts lots to packs; that the terms add up to the order is tested beside.
            when is_limited then order_units
            when recorded_rejected_units > 0 then 0
            when lot_units is not null and (wanted_units > 0 or order_up_to_units = source_position_units)
                then
                    ceil(ceil(greatest(wanted_units, source_moq_units, lot_units) / lot_units) * lot_units / multiple_units)
                    * multiple_units
            when wanted_units > 0 then ceil(greatest(wanted_units, source_moq_units) / multiple_units) * multiple_units
            else 0
        end + case when is_limited then 0 else supplier_minimum_added_units end as source_order_units,
        case
            when is_limited or lot_units is not null or moq_added_units = 0 or wanted_units <= 0 then moq_added_units
            else greatest(source_moq_units - wanted_units, 0)
        end as source_moq_added_units,
        source_position_units / nullif(expected_demand_units / protection_days + other_consumption_daily_units, 0) as source_cover_before
    from shortfalls_made_again
),

comparisons as (
    select sku, location_id, 'as_of_date' as term, as_of_date = source_as_of_date as is_equal, null as stated, null as made_again
    from orders_made_again
    union all
    select sku, location_id, 'protection_days', protection_days = source_protection_days, protection_days, source_protection_days
    from orders_made_again
    union all
    select
        sku, location_id, 'expected_demand_units',
        abs(expected_demand_units - coalesce(source_expected_demand_units, 0)) <= 0.01 + 0.000001 * abs(expected_demand_units),
        expected_demand_units, source_expected_demand_units
    from orders_made_again
    {% for term in [
        'on_hand_units', 'on_order_units', 'on_order_not_counted_units', 'on_order_doubtful_units',
        'reserved_units', 'backordered_units', 'promised_later_units',
        'transfer_in_units', 'transfer_out_units', 'proposed_transfer_in_units', 'proposed_transfer_out_units',
        'last_4_weeks_units', 'moq_added_units'
    ] %}
    union all
    select sku, location_id, '{{ term }}', abs({{ term }} - source_{{ term }}) <= 0.001, {{ term }}, source_{{ term }}
    from orders_made_again
    {% endfor %}
    {% for term in ['order', 'moq_added', 'multiple_added', 'supplier_minimum_added', 'reduced'] %}
    union all
    select
        sku, location_id, 'recorded {{ term }}_units', abs({{ term }}_units - recorded_{{ term }}_units) <= 0.001,
        {{ term }}_units, recorded_{{ term }}_units
    from orders_made_again
    {% endfor %}
    {% for term in ['rejected', 'proposed_transfers'] %}
    union all
    select
        sku, location_id, '{{ term }}_units', abs(recorded_{{ term }}_units - source_{{ term }}_units) <= 0.001,
        recorded_{{ term }}_units, source_{{ term }}_units
    from orders_made_again
    {% endfor %}
    union all
    select
        sku, location_id, 'inventory_position_units', abs(inventory_position_units - source_position_units) <= 0.001,
        inventory_position_units, source_position_units
    from orders_made_again
    union all
    select sku, location_id, 'shortfall_units', abs(shortfall_units - source_shortfall_units) <= 0.001, shortfall_units, source_shortfall_units
    from orders_made_again
    union all
    select sku, location_id, 'order_units', abs(order_units - source_order_units) <= 0.001, order_units, source_order_units
    from orders_made_again
    union all
    select
        sku, location_id, 'safety_stock_units', abs(safety_stock_units - (order_up_to_units - expected_demand_units)) <= 0.001,
        safety_stock_units, order_up_to_units - expected_demand_units
    from orders_made_again
    union all
    select
        sku, location_id, 'multiple_added_units',
        abs(
            multiple_added_units
            - (source_order_units - source_shortfall_units - source_moq_added_units - supplier_minimum_added_units + reduced_units)
        ) <= 0.001,
        multiple_added_units,
        source_order_units - source_shortfall_units - source_moq_added_units - supplier_minimum_added_units + reduced_units
    from orders_made_again
    union all
    select
        sku, location_id, 'lost_margin_without_order',
        abs(lost_margin_without_order - lost_units_without_order * coalesce(unit_margin, 0)) <= 0.001,
        lost_margin_without_order, lost_units_without_order * unit_margin
    from orders_made_again
    union all
    select
        sku, location_id, 'days_of_cover_before',
        coalesce(abs(days_of_cover_before - greatest(source_cover_before, 0)) <= 0.001 + 0.001 * days_of_cover_before, true),
        days_of_cover_before, source_cover_before
    from orders_made_again
    union all
    select
        sku, location_id, 'expected_arrival_date',
        coalesce(
            {{ days_between('as_of_date', 'expected_arrival_date') }} = next_order_in_days + source_lead_time_days + 1, true
        ),
        {{ days_between('as_of_date', 'expected_arrival_date') }}, next_order_in_days + source_lead_time_days + 1
    from orders_made_again
    union all
    select
        sku, location_id, 'change_units',
        coalesce(change_units = order_units - previous_order_units, true), change_units, order_units - previous_order_units
    from orders_made_again
    union all
    select
        sku, location_id, 'order_value', abs(order_value - order_units * source_unit_cost) <= 0.001,
        order_value, order_units * source_unit_cost
    from orders_made_again
),

differences as (
    select * from comparisons
    where not coalesce(is_equal, false)
)

select * from differences
