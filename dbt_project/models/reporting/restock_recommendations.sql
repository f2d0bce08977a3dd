{% set terms = [
    'expected_demand_units', 'safety_stock_units', 'order_up_to_units', 'on_hand_units', 'on_order_units',
    'on_order_not_counted_units', 'reserved_units', 'backordered_units', 'inventory_position_units', 'shortfall_units',
    'moq_added_units', 'multiple_added_units', 'reduced_units', 'order_units', 'order_packs'
] %}

with restock_lines as (
    select * from {{ source('predictions', 'restock_lines') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

open_proposals as (
    select * from {{ source('predictions', 'open_proposals') }}
),

as_of as (
    select max(as_of_date) as as_of_date from restock_lines
),

recent_sales as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.sales_units) as last_4_weeks_units
    from daily_demand
    cross join as_of
    where
        daily_demand.day > {{ add_days('as_of.as_of_date', -28) }}
        and daily_demand.day <= as_of.as_of_date
    group by daily_demand.sku, daily_demand.location_id
),

next_deliveries as (
    select sku, location_id, min(expected_date) as next_delivery_date
    from (
        select sku, location_id, expected_date from open_orders
        union all
        select sku, location_id, expected_date from open_proposals
    ) as deliveries
    group by sku, location_id
),

lines as (
    select
        sku,
        location_id,
        supplier_id,
        as_of_date,
        status,
        exception,
        target_type,
        nullif(target_value, cast('nan' as double)) as target_value,
        protection_periods,
        arrival_period,
        stockout_period_50,
        stockout_period_10,
        {% for term in terms %}
        {{ units(term) }} as {{ term }},
        {% endfor %}
        nullif(stockout_probability_without_order, cast('nan' as double)) as stockout_probability_without_order,
        nullif(stockout_probability_with_order, cast('nan' as double)) as stockout_probability_with_order,
        nullif(days_of_cover_before, cast('nan' as double)) as days_of_cover_before,
        nullif(days_of_cover_after, cast('nan' as double)) as days_of_cover_after,
        forecast_model_version
    from restock_lines
),

dated as (
    select
        lines.*,
        products.product_name,
        locations.location_name,
        suppliers.supplier_name,
        policies.policy_source,
        policies.policy_note,
        replenishment_terms.unit_cost,
        replenishment_terms.lead_time_days,
        replenishment_terms.lead_time_source,
        replenishment_terms.lead_time_receipts_count,
        replenishment_terms.review_period_days,
        replenishment_terms.moq_units,
        coalesce(replenishment_terms.order_multiple_units, 1) as pack_units,
        coalesce(recent_sales.last_4_weeks_units, 0) as last_4_weeks_units,
        positions.last_counted_date,
        next_deliveries.next_delivery_date,
        coalesce(trim(suppliers.order_weekdays), '') <> '' as has_order_days,
        {{ add_days('lines.as_of_date', 'replenishment_terms.next_order_in_days + 1') }} as next_order_date,
        {{ add_days('lines.as_of_date', 'lines.arrival_period') }} as arrival_date,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_50') }} as stockout_date_50,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_10') }} as stockout_date_10
    from lines
    inner join products on lines.sku = products.sku
    inner join locations on lines.location_id = locations.location_id
    left join suppliers on lines.supplier_id = suppliers.supplier_id
    left join replenishment_terms
        on lines.sku = replenishment_terms.sku and lines.location_id = replenishment_terms.location_id
    left join policies on lines.sku = policies.sku and lines.location_id = policies.location_id
    left join positions on lines.sku = positions.sku and lines.location_id = positions.location_id
    left join next_deliveries
        on lines.sku = next_deliveries.sku and lines.location_id = next_deliveries.location_id
    left join recent_sales on lines.sku = recent_sales.sku and lines.location_id = recent_sales.location_id
),

scheduled as (
    select
        *,
        {{ add_days('stockout_date_10', '-lead_time_days') }} as last_safe_order_date,
        {{ add_days('next_order_date', 'review_period_days - 1') }} as before_next_review_date
    from dated
),

-- The sentence shows one decimal and still adds up: the level is rounded, and what is left after the expected demand is the
-- uncertainty. Where that would show a shortfall as nothing, all decimals are shown.
shown as (
    select
        *,
        case when shown_decimals = 1 then round(order_up_to_units, 1) else order_up_to_units end as shown_level,
        case when shown_decimals = 1 then round(expected_demand_units, 1) else expected_demand_units end as shown_expected,
        case when shown_decimals = 1 then round(reduced_units, 1) else reduced_units end as shown_reduced
    from (
        select
            *,
            case
                when shortfall_units > 0 and round(order_up_to_units, 1) - inventory_position_units <= 0 then 3
                else 1
            end as shown_decimals
        from scheduled
    ) as decided
),

worded as (
    select
        *,
        concat(
            {{ number_text('shown_expected') }}, ' expected over ', protection_periods,
            case when protection_periods = 1 then ' day' else ' days' end,
            case when shown_level >= shown_expected then ' + ' else ' − ' end,
            {{ number_text('abs(shown_level - shown_expected)') }},
            case when shown_level >= shown_expected then ' for uncertainty' else ' that the target leaves uncovered' end,
            case when reserved_units <> 0 then concat(' + ', {{ number_text('reserved_units') }}, ' reserved') else '' end,
            case when backordered_units <> 0 then concat(' + ', {{ number_text('backordered_units') }}, ' backordered') else '' end,
            ' − ', {{ number_text('on_hand_units') }}, ' on hand − ', {{ number_text('on_order_units') }}, ' on order'
        ) as sum_text,
        concat(
            case
                when reduced_units > 0
                    then concat(
                        ', less ', {{ number_text('shown_reduced') }},
                        ' lost before it can arrive or held back by a limit'
                    )
                else ''
            end,
            case
                when moq_added_units > 0
                    then concat(', raised to the minimum order of ', {{ number_text('moq_units') }})
                else ''
            end,
            case
                when multiple_added_units > 0 and moq_added_units > 0 then ' and rounded up to '
                when multiple_added_units > 0 then ', rounded up to '
                else ''
            end,
            case
                when multiple_added_units > 0 and pack_units = 1 then 'whole units'
                when multiple_added_units > 0 then 'packs'
                else ''
            end
        ) as steps_text,
        case
            when on_order_not_counted_units > 0
                then concat(' ', {{ number_text('on_order_not_counted_units') }}, ' more on order come too late to count.')
            else ''
        end as late_text
    from shown
),

recommendations as (
    select
        md5(concat(as_of_date, ':', length(sku), ':', sku, ':', location_id)) as recommendation_id,
        as_of_date,
        sku,
        product_name,
        location_id,
        location_name,
        supplier_id,
        supplier_name,
        status,
        order_units,
        order_packs,
        cast(pack_units as decimal(18, 3)) as pack_units,
        unit_cost,
        cast(order_units * coalesce(unit_cost, 0) as decimal(18, 4)) as order_value,
        case
            when status <> 'order' then null
            when has_order_days then next_order_date
            else greatest(
                next_order_date, least(coalesce(last_safe_order_date, before_next_review_date), before_next_review_date)
            )
        end as order_by_date,
        next_order_date,
        case when status = 'order' then arrival_date end as expected_arrival_date,
        next_delivery_date,
        last_counted_date,
        stockout_date_50,
        stockout_date_10,
        stockout_probability_without_order,
        stockout_probability_with_order,
        days_of_cover_before,
        days_of_cover_after,
        cast(last_4_weeks_units as decimal(18, 3)) as last_4_weeks_units,
        protection_periods as protection_days,
        lead_time_days,
        lead_time_source,
        lead_time_receipts_count,
        review_period_days,
        moq_units,
        target_type,
        target_value,
        policy_source,
        policy_note,
        expected_demand_units,
        safety_stock_units,
        order_up_to_units,
        on_hand_units,
        on_order_units,
        on_order_not_counted_units,
        reserved_units,
        backordered_units,
        inventory_position_units,
        shortfall_units,
        moq_added_units,
        multiple_added_units,
        reduced_units,
        case
            when status = 'exception' then concat('No order can be worked out: ', exception, '.')
            when status = 'order'
                then concat(
                    'Order ', {{ number_text('order_units') }},
                    case
                        when pack_units = 1 then ''
                        when order_packs = 1 then concat(' (1 pack of ', {{ number_text('pack_units') }}, ')')
                        else concat(' (', {{ number_text('order_packs') }}, ' packs of ', {{ number_text('pack_units') }}, ')')
                    end,
                    ': ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }}, steps_text, '.', late_text
                )
            when shortfall_units > 0
                then concat(
                    'Order nothing: ', sum_text, ' = ', {{ number_text('shown_level - inventory_position_units') }},
                    steps_text, '.', late_text
                )
            else concat(
                'Order nothing: ', sum_text, ' leaves ', {{ number_text('inventory_position_units - shown_level') }}, ' to spare.',
                late_text
            )
        end as reason,
        exception,
        forecast_model_version
    from worded
)

select * from recommendations
