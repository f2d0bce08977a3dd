{% set year = days_to_year_before() %}

with planned_days as (
    select * from {{ ref('fct_planned_days') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

-- What is out of season then is not expected, so that it does not count a year before either.
past as (
    select item_locations.category, daily_demand.day, sum(daily_demand.demand_units) as units
    from daily_demand
    inner join item_locations
        on daily_demand.sku = item_locations.sku and daily_demand.location_id = item_locations.location_id
    left join planned_days
        on
            daily_demand.sku = planned_days.sku
            and daily_demand.location_id = planned_days.location_id
            and planned_days.day = {{ add_days('daily_demand.day', year) }}
    where coalesce(planned_days.is_on_sale, true)
    group by item_locations.category, daily_demand.day
),

past_by_scope as (
    select category, day, units from past
    union all
    select cast(null as varchar) as category, day, sum(units) from past group by day
)

select * from past_by_scope
