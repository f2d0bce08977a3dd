{# Cover above so many days is excess, unless the policy of the item says otherwise. #}
{% set excess_days = var('excess_cover_days', 180) | int %}

with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

limits as (
    select * from {{ ref('int_listing_limits') }}
),

rates as (
    select
        recommendations.*,
        -- What is set aside for later promises is no excess.
        recommendations.inventory_position_units - recommendations.promised_later_units as free_units,
        recommendations.expected_demand_units / recommendations.protection_days + recommendations.other_consumption_daily_units
            as daily_demand_units,
        limits.holding_cost,
        limits.listed_above_money_per_day,
        coalesce(policies.excess_above_days, {{ excess_days }}) as excess_above_days
    from recommendations
    inner join limits on recommendations.sku = limits.sku and recommendations.location_id = limits.location_id
    left join policies
        on recommendations.sku = policies.sku and recommendations.location_id = policies.location_id
    where
        recommendations.status <> 'exception'
        and recommendations.inventory_position_units > recommendations.promised_later_units
        and not limits.is_shut
),

risks as (
    select
        sku,
        product_name,
        location_id,
        as_of_date,
        inventory_position_units,
        on_hand_units,
        promised_later_units,
        cast(daily_demand_units as decimal(18, 3)) as daily_demand_units,
        cast(
            case when daily_demand_units > 0 then least(round(free_units / daily_demand_units, 1), 99999) end
            as decimal(18, 1)
        ) as days_of_cover,
        excess_above_days,
        cast(free_units - daily_demand_units * excess_above_days as decimal(18, 3)) as excess_units,
        cast(
            (free_units - daily_demand_units * excess_above_days) * coalesce(unit_cost, 0) as decimal(18, 4)
        ) as excess_value,
        cast((free_units - daily_demand_units * excess_above_days) * holding_cost as decimal(18, 4)) as money_per_day
    from rates
    where
        free_units > daily_demand_units * excess_above_days + 0.001
        and (free_units - daily_demand_units * excess_above_days) * holding_cost >= listed_above_money_per_day
)

select * from risks
