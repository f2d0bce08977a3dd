{{ config(meta={'dagster': {'ref': {'name': 'restock_recommendations'}}}) }}

{#
    Each term of each recommendation made again from its own source; a row per term that differs. Units agree to 0.001; the
    forecast is a sum over many days, which each side rounds in its own way: 0.01, and a millionth of large sums.
#}

with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

-- A proposal that people committed to counts until its purchase order line is seen.
open_orders as (
    select sku, location_id, periods_ahead, open_units, is_doubtful from {{ ref('fct_open_orders') }}
    union all
    select sku, location_id, periods_ahead, {{ units('open_units') }} as open_units, false as is_doubtful
    from {{ source('predictions', 'open_proposals') }}
    union all
    select
        sku, to_location_id as location_id, {{ days_between('as_of_date', 'expected_arrival_date') }} as periods_ahead,
        transfer_units as open_units, false as is_doubtful
    from {{ ref('stock_transfers') }}
),

transferred as (
    select sku, location_id, sum(received) as in_units, sum(sent) as out_units
    from (
        select sku, to_location_id as location_id, transfer_units as received, 0 as sent from {{ ref('stock_transfers') }}
        union all
        select sku, from_location_id as location_id, 0 as received, transfer_units as sent from {{ ref('stock_transfers') }}
    ) as ends
    group by sku, location_id
),

recent_sales as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.sales_units) as last_4_weeks_units
    from {{ ref('fct_daily_demand') }} as daily_demand
    inner join {{ ref('fct_stock_position') }} as positions
        on daily_demand.sku = positions.sku and daily_demand.location_id = positions.location_id
    where
        daily_demand.day > {{ add_days('positions.as_of_date', -28) }}
        and daily_demand.day <= positions.as_of_date
    group by daily_demand.sku, daily_demand.location_id
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
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
        sum(case when term in {{ order_steps_of(['person', 'sharing']) }} then 0 else term_units end) as needed_units
    from {{ ref('restock_order_steps') }}
    group by sku, location_id
),

intervals as (
    select
        sku,
        location_id,
        next_order_in_days + lead_time_days + review_period_days as protection_days,
        coalesce(order_multiple_units, 1) as multiple_units,
        coalesce(moq_units, 0) as moq_units,
        unit_cost,
        greatest(unit_price - unit_cost, 0) as unit_margin,
        lead_time_days,
        next_order_in_days
    from replenishment_terms
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

on_order as (
    select
        open_orders.sku,
        open_orders.location_id,
        {% for name, condition in [
            ('in_time_units', 'not open_orders.is_doubtful and open_orders.periods_ahead <= intervals.protection_days'),
            ('too_late_units', 'not open_orders.is_doubtful and open_orders.periods_ahead > intervals.protection_days'),
            ('doubtful_units', 'open_orders.is_doubtful')
        ] %}
        sum(case when {{ condition }} then open_orders.open_units else 0 end) as {{ name }},
        {% endfor %}
        count(*) as orders
    from open_orders
    inner join intervals on open_orders.sku = intervals.sku and open_orders.location_id = intervals.location_id
    group by open_orders.sku, open_orders.location_id
),

expected as (
    select
        forecasts.sku,
        forecasts.location_id,
        sum(forecasts.mean_units) as expected_demand_units,
        sum(case when forecasts.periods_ahead = 1 then forecasts.mean_units else 0 end) as first_day_units
    from forecasts
    inner join intervals on forecasts.sku = intervals.sku and forecasts.location_id = intervals.location_id
    where forecasts.periods_ahead between 1 and intervals.protection_days
    group by forecasts.sku, forecasts.location_id
),

sources as (
    select
        recommendations.*,
        positions.as_of_date as source_as_of_date,
        positions.on_hand_units as source_on_hand_units,
        positions.reserved_units + coalesce(transferred.out_units, 0) as source_reserved_units,
        coalesce(transferred.in_units, 0) as source_transfer_in_units,
        coalesce(transferred.out_units, 0) as source_transfer_out_units,
        coalesce(recent_sales.last_4_weeks_units, 0) as source_last_4_weeks_units,
        intervals.unit_margin,
        intervals.next_order_in_days,
        intervals.lead_time_days as source_lead_time_days,
        positions.backordered_units as source_backordered_units,
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
        {% for term in ['order', 'moq_added', 'multiple_added', 'supplier_minimum_added', 'reduced', 'rejected'] %}
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
    left join transferred
        on recommendations.sku = transferred.sku and recommendations.location_id = transferred.location_id
    left join recent_sales
        on recommendations.sku = recent_sales.sku and recommendations.location_id = recent_sales.location_id
    where recommendations.status <> 'exception'
),

positions_made_again as (
    select
        *,
        source_on_hand_units + source_on_order_units - source_backordered_units - source_reserved_units as source_position_units
    from sources
),

shortfalls_made_again as (
    select
        *,
        greatest(order_up_to_units - source_position_units, 0) as source_shortfall_units,
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
        source_position_units * protection_days / nullif(expected_demand_units, 0) as source_cover_before
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
        'reserved_units', 'backordered_units',
        'transfer_in_units', 'transfer_out_units', 'last_4_weeks_units', 'moq_added_units'
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
    union all
    select
        sku, location_id, 'rejected_units', abs(recorded_rejected_units - source_rejected_units) <= 0.001,
        recorded_rejected_units, source_rejected_units
    from orders_made_again
    union all
    select
        sku, location_id, 'inventory_position_units', abs(inventory_position_units - source_position_units) <= 0.001,
        inventory_position_units, source_position_units
    from orders_made_again
    union all
    select
        sku, location_id, 'shortfall_units', abs(shortfall_units - source_shortfall_units) <= 0.001,
        shortfall_units, source_shortfall_units
    from orders_made_again
    union all
    select
        sku, location_id, 'order_units', abs(order_units - source_order_units) <= 0.001, order_units, source_order_units
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
