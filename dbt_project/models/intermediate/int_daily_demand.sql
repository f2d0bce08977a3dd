{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=["{{ forget_days_to_rebuild() }}", "{{ forget_changed_demand() }}"]
    )
}}

with daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

contexts as (
    select * from {{ ref('int_demand_contexts') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

used_days as (
    select * from {{ ref('int_planned_use_days') }}
),

{% if is_incremental() %}
kept as (
    select sku, location_id, max(day) as kept_until
    from {{ this }}
    group by sku, location_id
),

to_append as (
    select
        spans.sku,
        spans.location_id,
        coalesce({{ add_days('kept.kept_until', 1) }}, spans.demand_from) as from_day,
        spans.last_day
    from spans
    left join kept on spans.sku = kept.sku and spans.location_id = kept.location_id
    where coalesce({{ add_days('kept.kept_until', 1) }}, spans.demand_from) <= spans.last_day
),
{% else %}
to_append as (
    select sku, location_id, demand_from as from_day, last_day
    from spans
    where demand_from <= last_day
),
{% endif %}

item_days as (
    select daily_balances.*
    from daily_balances
    inner join to_append
        on
            daily_balances.sku = to_append.sku
            and daily_balances.location_id = to_append.location_id
            and daily_balances.day >= to_append.from_day
),

append_bounds as (
    select min(from_day) as from_day, max(last_day) as until_day
    from to_append
),

{{ price_days('append_bounds') }},

demand_days as (
    select
        item_days.sku,
        item_days.location_id,
        item_days.day,
        item_days.sales_units,
        cast(item_days.demand_units + coalesce(used_days.used_units, 0) as decimal(18, 3)) as demand_units,
        not item_days.is_stocked_out as is_in_stock,
        coalesce(location_prices.unit_price, general_prices.unit_price, products.unit_price) as unit_price,
        coalesce(location_prices.is_promotion, general_prices.is_promotion, false) as is_promotion,
        location_days.event_name,
        location_days.is_open,
        item_days.inputs_fingerprint,
        contexts.context_fingerprint
    from item_days
    inner join products on item_days.sku = products.sku
    inner join location_days
        on
            item_days.location_id = location_days.location_id
            and item_days.day = location_days.day
            and location_days.is_observed
    inner join contexts
        on item_days.sku = contexts.sku and item_days.location_id = contexts.location_id
    left join used_days
        on
            item_days.sku = used_days.sku
            and item_days.location_id = used_days.location_id
            and item_days.day = used_days.day
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

{{ hidden_demand() }},

daily_demand as (
    select
        demand_days.sku,
        demand_days.location_id,
        demand_days.day,
        demand_days.sales_units,
        demand_days.demand_units,
        demand_days.is_in_stock,
        cast(coalesce(hidden_demand.demand_units, demand_days.demand_units) as decimal(18, 3)) as unconstrained_demand_units,
        demand_days.unit_price,
        demand_days.is_promotion,
        demand_days.event_name,
        demand_days.is_open,
        demand_days.inputs_fingerprint,
        demand_days.context_fingerprint
    from demand_days
    left join hidden_demand
        on
            demand_days.sku = hidden_demand.sku
            and demand_days.location_id = hidden_demand.location_id
            and demand_days.day = hidden_demand.day
)

select * from daily_demand
