{# Cover above so many days is excess. #}
{% set excess_days = var('excess_cover_days', 180) | int %}

with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

rates as (
    select
        *,
        expected_demand_units / protection_days as daily_demand_units
    from recommendations
    where status <> 'exception' and inventory_position_units > 0
),

risks as (
    select
        sku,
        product_name,
        location_id,
        as_of_date,
        inventory_position_units,
        on_hand_units,
        cast(daily_demand_units as decimal(18, 3)) as daily_demand_units,
        cast(
            case when daily_demand_units > 0 then least(round(inventory_position_units / daily_demand_units, 1), 99999) end
            as decimal(18, 1)
        ) as days_of_cover,
        cast({{ excess_days }} as integer) as excess_above_days,
        cast(inventory_position_units - daily_demand_units * {{ excess_days }} as decimal(18, 3)) as excess_units,
        cast(
            (inventory_position_units - daily_demand_units * {{ excess_days }}) * coalesce(unit_cost, 0) as decimal(18, 4)
        ) as excess_value
    from rates
    where inventory_position_units > daily_demand_units * {{ excess_days }} + 0.001
)

select * from risks
