{# Money at risk a day from which stock is listed, unless the policy of the item says otherwise. #}
{% set least_money = var('alert_above_money_per_day', 1) | float %}

with item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

-- An item without supplier terms has no policy: it is held at the rate of the home's other items.
holding_rates as (
    select median(policies.holding_cost / item_locations.unit_cost) as holding_rate
    from policies
    inner join item_locations
        on policies.sku = item_locations.sku and policies.location_id = item_locations.location_id
    where item_locations.unit_cost > 0
),

-- A location that is closed for all of two weeks is shut: what it holds is for its reopening.
shut_locations as (
    select location_id
    from {{ ref('int_location_days') }}
    where days_ahead between 1 and 14
    group by location_id
    having sum(case when is_open then 1 else 0 end) = 0
),

limits as (
    select
        item_locations.sku,
        item_locations.location_id,
        coalesce(policies.holding_cost, item_locations.unit_cost * holding_rates.holding_rate, 0) as holding_cost,
        coalesce(policies.alert_above_money_per_day, {{ least_money }}) as listed_above_money_per_day,
        shut_locations.location_id is not null as is_shut
    from item_locations
    cross join holding_rates
    left join policies on item_locations.sku = policies.sku and item_locations.location_id = policies.location_id
    left join shut_locations on item_locations.location_id = shut_locations.location_id
)

select * from limits
