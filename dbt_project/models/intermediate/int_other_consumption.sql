{{ config(materialized='table') }}

{#
    Weeks in which use must recur to be regular: in so many of twelve, and half of those there have been. What has become so stays so
    while it recurs in two of twelve, so that no item comes and goes; and its past stays use.
#}
{% set weeks_to_look = 12 %}
{% set least_weeks = 4 %}
{% set weeks_to_stay = 2 %}

with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

planned_use as (
    select * from {{ source('predictions', 'planned_use') }}
),

-- The policy of all items, which the row without a sku has, else the setting of the home.
home_policy as (
    select coalesce(bool_or(is_planned), {{ var('plan_other_consumption', false) }}) as is_planned
    from planned_use
    where sku is null
),

-- What is booked back on the day was not used.
days as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        stock_movements.day,
        greatest(-sum(stock_movements.change_units), 0) as used_units,
        greatest(sum(stock_movements.change_units), 0) as returned_units
    from stock_movements
    cross join as_of
    where stock_movements.movement_type = 'adjustment' and stock_movements.day <= as_of.as_of_date
    group by stock_movements.sku, stock_movements.location_id, stock_movements.day
),

-- Weeks of the calendar: those counted back from as_of would change every day.
weeks as (
    select
        days.sku,
        days.location_id,
        {{ days_between("date '1970-01-05'", 'days.day') }} // 7 as week,
        {{ days_between("date '1970-01-05'", 'spans.active_from') }} // 7 as first_week,
        {{ days_between("date '1970-01-05'", 'as_of.as_of_date') }} // 7 as last_week,
        sum(days.used_units) as used_units,
        sum(days.returned_units) as returned_units
    from days
    inner join spans on days.sku = spans.sku and days.location_id = spans.location_id
    cross join as_of
    group by all
),

looked_back as (
    select
        *,
        least(week - first_week + 1, {{ weeks_to_look }}) as seen_weeks,
        count(case when used_units > 0 then 1 end) over lately as used_weeks,
        sum(used_units) over lately as lately_used_units,
        sum(returned_units) over lately as lately_returned_units
    from weeks
    window lately as (
        partition by sku, location_id order by week range between {{ weeks_to_look - 1 }} preceding and current row
    )
),

-- Where most of it is booked back, these are corrections.
became_regular as (
    select sku, location_id, min(week) as from_week
    from looked_back
    where
        used_weeks >= {{ least_weeks }}
        and 2 * used_weeks >= seen_weeks
        and 2 * lately_returned_units <= lately_used_units
    group by sku, location_id
),

recent as (
    select
        sku,
        location_id,
        sum(used_units) as used_units,
        count(case when used_units > 0 then 1 end) as used_weeks
    from weeks
    where week > last_week - {{ weeks_to_look }}
    group by sku, location_id
),

regular as (
    select
        became_regular.sku,
        became_regular.location_id,
        cast(
            case
                when recent.used_weeks >= {{ weeks_to_stay }}
                    then round(
                        recent.used_units
                        / (1 + least(
                            {{ days_between('spans.active_from', 'as_of.as_of_date') }},
                            {{ 7 * (weeks_to_look - 1) }} + {{ days_between("date '1970-01-05'", 'as_of.as_of_date') }} % 7
                        )), 3
                    )
                else 0
            end as decimal(18, 3)
        ) as daily_units,
        coalesce(planned_use.is_planned, home_policy.is_planned) as is_planned
    from became_regular
    cross join home_policy
    left join planned_use
        on became_regular.sku = planned_use.sku and became_regular.location_id = planned_use.location_id
    inner join spans on became_regular.sku = spans.sku and became_regular.location_id = spans.location_id
    cross join as_of
    left join recent on became_regular.sku = recent.sku and became_regular.location_id = recent.location_id
)

select * from regular
