{# Stock without demand for so many days is dead, unless the policy of the item says otherwise. #}
{% set dead_days = var('dead_stock_days', 180) | int %}

with positions as (
    select
        *,
        -- What is promised is not dead: somebody waits for it.
        cast(on_hand_units - reserved_units - backordered_units as decimal(18, 3)) as free_units
    from {{ ref('fct_stock_position') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

limits as (
    select * from {{ ref('int_listing_limits') }}
),

last_demand as (
    select sku, location_id, max(case when demand_units > 0 then day end) as last_demand_date
    from daily_demand
    group by sku, location_id
),

idle as (
    select
        positions.sku,
        item_locations.product_name,
        positions.location_id,
        positions.as_of_date,
        positions.on_hand_units,
        positions.free_units,
        item_locations.active_from,
        last_demand.last_demand_date,
        cast(
            {{ days_between('coalesce(last_demand.last_demand_date, item_locations.demand_from)', 'positions.as_of_date') }} - positions.unrecorded_days
            as integer
        ) as days_without_demand,
        coalesce(policies.dead_after_days, {{ dead_days }}) as dead_after_days,
        cast(positions.free_units * coalesce(item_locations.unit_cost, 0) as decimal(18, 4)) as dead_value,
        cast(positions.free_units * limits.holding_cost as decimal(18, 4)) as money_per_day,
        limits.listed_above_money_per_day
    from positions
    inner join item_locations
        on positions.sku = item_locations.sku and positions.location_id = item_locations.location_id
    inner join limits on positions.sku = limits.sku and positions.location_id = limits.location_id
    left join last_demand on positions.sku = last_demand.sku and positions.location_id = last_demand.location_id
    left join policies on positions.sku = policies.sku and positions.location_id = policies.location_id
    where positions.free_units > 0 and item_locations.other_consumption_daily_units = 0 and not limits.is_shut
),

risks as (
    select * exclude (listed_above_money_per_day) from idle
    where days_without_demand >= dead_after_days and money_per_day >= listed_above_money_per_day
)

select * from risks
