{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ forget_changed_demand() }}"
    )
}}

{# Days before a stock-out whose demand tells what the stock-out hid: eight weeks, the same weekdays in each. #}
{% set days_to_look_back = 56 %}

with daily_stock as (
    select * from {{ ref('int_daily_balances') }}
),

stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

cancellations as (
    select * from {{ ref('int_sale_cancellations') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

kept as (
    {% if is_incremental() %}
    select sku, location_id, max(day) as kept_until
    from {{ this }}
    group by sku, location_id
    {% else %}
    select sku, location_id, last_day as kept_until
    from spans
    where false
    {% endif %}
),

to_append as (
    select
        spans.sku,
        spans.location_id,
        coalesce({{ add_days('kept.kept_until', 1) }}, spans.active_from) as from_day,
        spans.last_day as until_day
    from spans
    left join kept on spans.sku = kept.sku and spans.location_id = kept.location_id
    where kept.kept_until is null or kept.kept_until < spans.last_day
),

{{ demand_context('to_append') }},

item_days as (
    select daily_stock.*
    from daily_stock
    inner join to_append
        on
            daily_stock.sku = to_append.sku
            and daily_stock.location_id = to_append.location_id
            and daily_stock.day >= to_append.from_day
),

sale_days as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        stock_movements.day,
        -sum(stock_movements.change_units) as sold_units
    from stock_movements
    inner join to_append
        on
            stock_movements.sku = to_append.sku
            and stock_movements.location_id = to_append.location_id
            and stock_movements.day >= to_append.from_day
    where stock_movements.movement_type = 'sale'
    group by stock_movements.sku, stock_movements.location_id, stock_movements.day
),

append_bounds as (
    select min(from_day) as from_day, max(until_day) as until_day
    from to_append
),

{{ price_days('append_bounds') }},

demand_days as (
    select
        item_days.sku,
        item_days.location_id,
        item_days.day,
        item_days.sales_units,
        greatest(coalesce(sale_days.sold_units, 0) - coalesce(cancellations.cancelled_units, 0), 0) as demand_units,
        not item_days.is_stocked_out as is_in_stock,
        coalesce(location_prices.unit_price, general_prices.unit_price, products.unit_price) as unit_price,
        coalesce(location_prices.is_promotion, general_prices.is_promotion, false) as is_promotion,
        location_days.event_name,
        location_days.is_open,
        item_days.inputs_fingerprint + coalesce(cancellations.cancellations_fingerprint, 0) as inputs_fingerprint,
        contexts.context_fingerprint
    from item_days
    inner join products on item_days.sku = products.sku
    inner join location_days
        on item_days.location_id = location_days.location_id and item_days.day = location_days.day
    inner join contexts
        on item_days.sku = contexts.sku and item_days.location_id = contexts.location_id
    left join sale_days
        on
            item_days.sku = sale_days.sku
            and item_days.location_id = sale_days.location_id
            and item_days.day = sale_days.day
    left join cancellations
        on
            item_days.sku = cancellations.sku
            and item_days.location_id = cancellations.location_id
            and item_days.day = cancellations.day
    left join price_days as location_prices
        on
            item_days.sku = location_prices.sku
            and item_days.location_id = location_prices.location_id
            and item_days.day = location_prices.day
    left join price_days as general_prices
        on
            item_days.sku = general_prices.sku
            and general_prices.location_id is null
            and item_days.day = general_prices.day
),

-- The days just before the first one to append are read back to look at.
with_days_before as (
    select sku, location_id, day, demand_units, is_in_stock, is_open
    from demand_days
    {% if is_incremental() %}
    union all
    select built.sku, built.location_id, built.day, built.demand_units, built.is_in_stock, built.is_open
    from {{ this }} as built
    inner join to_append
        on
            built.sku = to_append.sku
            and built.location_id = to_append.location_id
            and built.day >= {{ add_days('to_append.from_day', -days_to_look_back) }}
            and built.day < to_append.from_day
    {% endif %}
),

days_out_of_stock as (
    select sku, location_id, day, demand_units
    from demand_days
    where is_open and not is_in_stock
),

-- What a stock-out cut off was at least what was sold: of the demand seen before, only as much or more tells how much.
hidden_demand as (
    select
        days_out_of_stock.sku,
        days_out_of_stock.location_id,
        days_out_of_stock.day,
        round(sum(seen.demand_units) / count(*), 3) as demand_units
    from days_out_of_stock
    inner join with_days_before as seen
        on
            days_out_of_stock.sku = seen.sku
            and days_out_of_stock.location_id = seen.location_id
            and seen.day < days_out_of_stock.day
            and seen.day >= {{ add_days('days_out_of_stock.day', -days_to_look_back) }}
            and seen.demand_units >= days_out_of_stock.demand_units
    where seen.is_in_stock and seen.is_open
    group by days_out_of_stock.sku, days_out_of_stock.location_id, days_out_of_stock.day
),

daily_demand as (
    select
        demand_days.sku,
        demand_days.location_id,
        demand_days.day,
        cast(demand_days.sales_units as decimal(18, 3)) as sales_units,
        cast(demand_days.demand_units as decimal(18, 3)) as demand_units,
        demand_days.is_in_stock,
        cast(coalesce(hidden_demand.demand_units, demand_days.demand_units) as decimal(18, 3)) as unconstrained_demand_units,
        demand_days.unit_price,
        demand_days.is_promotion,
        demand_days.event_name,
        demand_days.is_open,
        cast(demand_days.inputs_fingerprint as decimal(38, 0)) as inputs_fingerprint,
        demand_days.context_fingerprint
    from demand_days
    left join hidden_demand
        on
            demand_days.sku = hidden_demand.sku
            and demand_days.location_id = hidden_demand.location_id
            and demand_days.day = hidden_demand.day
)

select * from daily_demand
