{#
    An item's forecast parts where it is this many times what its own recent pace leads to expect, or less than its inverse.
    Items are noisier than their categories, which part at 1.5.
#}
{% set item_factor = 2 %}

with lines as (
    select * from {{ ref('int_restock_lines') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

forecast_totals as (
    select * from {{ ref('forecast_totals') }}
),

recent_sales as (
    select * from {{ ref('int_restock_sales') }}
),

-- Weeks whose forecast of the category parts, as far as an order has to cover them: what the item is forecast beyond what the
-- category leads to expect of it, and beyond its own pace of the last four weeks, moved as the category moved last year.
item_weeks as (
    select
        lines.sku,
        lines.location_id,
        {{ week_start('forecasts.day') }} as week_start,
        sum(forecasts.mean_units) as week_units,
        sum(case when forecasts.periods_ahead <= lines.protection_periods then forecasts.mean_units else 0 end) as covered_units
    from lines
    inner join forecasts on lines.sku = forecasts.sku and lines.location_id = forecasts.location_id
    where lines.status = 'order'
    group by lines.sku, lines.location_id, {{ week_start('forecasts.day') }}
),

doubtful_weeks as (
    select
        item_weeks.sku,
        item_weeks.location_id,
        item_weeks.week_start,
        item_weeks.covered_units,
        forecast_totals.note,
        item_weeks.covered_units * (1 - forecast_totals.usual_units / forecast_totals.forecast_units) as beyond_category,
        item_weeks.covered_units * (
            1
            - coalesce(recent_sales.last_4_weeks_units / 4 * forecast_totals.usual_units / nullif(forecast_totals.recent_units, 0), 0)
            / item_weeks.week_units
        ) as beyond_pace
    from item_weeks
    inner join products on item_weeks.sku = products.sku
    inner join forecast_totals
        on
            products.category = forecast_totals.category
            and item_weeks.week_start = forecast_totals.week_start
            and forecast_totals.is_parting
            and forecast_totals.forecast_units > 0
    left join recent_sales on item_weeks.sku = recent_sales.sku and item_weeks.location_id = recent_sales.location_id
    where item_weeks.covered_units > 0
),

doubtful_items as (
    select
        sku,
        location_id,
        sum(covered_units) as covered_units,
        sum(beyond_category) as beyond_category,
        sum(beyond_pace) as beyond_pace,
        least(abs(sum(beyond_category)), abs(sum(beyond_pace))) as doubtful_units
    from doubtful_weeks
    group by sku, location_id
),

-- A planner reads of it where the whole order hangs on it: the category parts, and so does the item, by no less than is ordered.
forecast_doubts as (
    select sku, location_id, note as forecast_note, doubtful_units, is_forecast_high
    from (
        select
            lines.sku,
            lines.location_id,
            doubtful_weeks.note,
            doubtful_items.doubtful_units,
            doubtful_items.beyond_pace > 0 as is_forecast_high,
            row_number() over (
                partition by lines.sku, lines.location_id
                order by doubtful_weeks.beyond_category * sign(doubtful_items.beyond_category) desc, doubtful_weeks.week_start
            ) as choice
        from lines
        inner join doubtful_items on lines.sku = doubtful_items.sku and lines.location_id = doubtful_items.location_id
        inner join doubtful_weeks on lines.sku = doubtful_weeks.sku and lines.location_id = doubtful_weeks.location_id
        where
            doubtful_items.beyond_category * doubtful_items.beyond_pace > 0
            and doubtful_items.doubtful_units >= lines.order_units
            and (
                doubtful_items.beyond_pace >= (1 - 1 / {{ item_factor }}) * doubtful_items.covered_units
                or doubtful_items.beyond_pace <= (1 - {{ item_factor }}) * doubtful_items.covered_units
            )
    ) as ranked
    where choice = 1
)

select * from forecast_doubts
