{#
    CTEs that read again, each from its own source, what a recommendation was made of: the days it has to last (`intervals`),
    what is on its way (`on_order`, `leaving`), what is due (`promised`), demand expected and past (`expected`, `recent_sales`). For the test
    every_recommendation_recomputes; as models they would be skipped, and the test with them, where another test fails.
#}
{% macro recomputed_needs() %}
replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

intervals as (
    select
        terms.sku,
        terms.location_id,
        -- An order lasts whole reviews.
        terms.next_order_in_days + terms.lead_time_days + case
            when recommendations.order_interval_days % terms.review_period_days = 0 then recommendations.order_interval_days
            else terms.review_period_days
        end as protection_days,
        coalesce(terms.order_multiple_units, 1) as multiple_units,
        coalesce(terms.moq_units, 0) as moq_units,
        terms.unit_cost,
        greatest(terms.unit_price - terms.unit_cost, 0) as unit_margin,
        terms.lead_time_days,
        terms.next_order_in_days
    from replenishment_terms as terms
    left join {{ ref('restock_recommendations') }} as recommendations
        on terms.sku = recommendations.sku and terms.location_id = recommendations.location_id
),

-- A proposal that people committed to counts until its purchase order line is seen.
open_orders as (
    select sku, location_id, periods_ahead, open_units - unbooked_units as open_units, is_doubtful, 'order' as kind
    from {{ ref('fct_open_orders') }}
    union all
    select sku, location_id, periods_ahead, {{ units('open_units') }} as open_units, false as is_doubtful, 'order' as kind
    from {{ source('predictions', 'open_proposals') }}
    union all
    select sku, location_id, periods_ahead, {{ units('on_order_units') }} as open_units, false as is_doubtful, 'transfer' as kind
    from {{ source('predictions', 'open_transfers') }}
    union all
    select
        sku, to_location_id as location_id, arrival_period as periods_ahead, {{ units('units') }} as open_units,
        false as is_doubtful, 'proposed' as kind
    from {{ source('predictions', 'stock_transfers') }}
    where not is_rejected
    union all
    -- What is left of a predecessor is sold first.
    select sku, location_id, periods_ahead, left_units as open_units, false as is_doubtful, 'predecessor' as kind
    from {{ ref('fct_predecessor_stock') }}
    where is_still_sold
),

on_order as (
    select
        open_orders.sku,
        open_orders.location_id,
        {% for name, condition in [
            ('in_time_units', "kind <> 'proposed' and not is_doubtful and periods_ahead <= intervals.protection_days"),
            ('transfer_in_units', "kind = 'transfer' and periods_ahead <= intervals.protection_days"),
            ('proposed_in_units', "kind = 'proposed' and periods_ahead <= intervals.protection_days"),
            ('too_late_units', "kind <> 'proposed' and not is_doubtful and periods_ahead > intervals.protection_days"),
            ('doubtful_units', 'open_orders.is_doubtful')
        ] %}
        sum(case when {{ condition }} then open_orders.open_units else 0 end) as {{ name }},
        {% endfor %}
        count(*) as orders
    from open_orders
    inner join intervals on open_orders.sku = intervals.sku and open_orders.location_id = intervals.location_id
    group by open_orders.sku, open_orders.location_id
),

promised as (
    select
        reservations.sku,
        reservations.location_id,
        {% for name in ['reserved', 'backordered'] %}
        sum(case when coalesce(days_until_due, 0) <= intervals.protection_days then {{ name }}_units else 0 end) as {{ name }}_units,
        {% endfor %}
        sum(case when days_until_due > intervals.protection_days then reserved_units + backordered_units else 0 end) as later_units
    from {{ ref('fct_reservations') }} as reservations
    inner join intervals on reservations.sku = intervals.sku and reservations.location_id = intervals.location_id
    where not reservations.is_doubtful
    group by reservations.sku, reservations.location_id
),

leaving as (
    select sku, location_id, sum(approved_units) as out_units, sum(proposed_units) as proposed_out_units
    from (
        select sku, from_location_id as location_id, {{ units('leaving_units') }} as approved_units, 0 as proposed_units
        from {{ source('predictions', 'open_transfers') }}
        union all
        select sku, from_location_id as location_id, 0 as approved_units, {{ units('units') }} as proposed_units
        from {{ source('predictions', 'stock_transfers') }}
        where not is_rejected
    ) as ends
    group by sku, location_id
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
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

recent_sales as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.sales_units) as last_4_weeks_units
    from {{ ref('fct_daily_demand') }} as daily_demand
    inner join {{ ref('fct_stock_position') }} as positions
        on daily_demand.sku = positions.sku and daily_demand.location_id = positions.location_id
    where
        daily_demand.day > {{ add_days('positions.as_of_date', -28) }}
        and daily_demand.day <= positions.as_of_date
    group by daily_demand.sku, daily_demand.location_id
)
{% endmacro %}
