{# What an item usually sells is known from the eight weeks before a pause, the same weekdays in each. #}
{% set days_to_look_back = 56 %}
{% set least_silent_days = 5 %}
{#
    Counts say nothing of items that are seldom sold: that those counted would have sold on fewer than three item-days is no
    proof (3 = -ln 0.05). A surplus beyond this share of what would have been sold came without a record, as sales may have gone.
#}
{% set least_sale_days = 3 %}
{% set most_surplus = 0.25 %}

{{ config(materialized='table') }}

with open_days as (
    select * from {{ ref('int_location_open_days') }}
),

folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

counts as (
    select pauses.location_id, pauses.from_day, movements.sku, max(movements.day) as counted_day
    from (select distinct location_id, from_day, end_day from open_days where silent_days >= {{ least_silent_days }}) as pauses
    inner join folded_movements as movements
        on
            pauses.location_id = movements.location_id
            and movements.movement_type = 'count'
            and movements.day between pauses.from_day and coalesce(pauses.end_day, movements.day)
    group by pauses.location_id, pauses.from_day, movements.sku
),

counted as (
    select counts.location_id, counts.from_day, counts.sku, counts.counted_day, count(*) as silent_days
    from counts
    inner join open_days
        on
            counts.location_id = open_days.location_id
            and counts.from_day = open_days.from_day
            and counts.counted_day > open_days.day
    group by counts.location_id, counts.from_day, counts.sku, counts.counted_day
    having count(*) >= {{ least_silent_days }}
),

-- What there was by the record, and what the counts in the pause took off.
found as (
    select
        counted.location_id,
        counted.from_day,
        counted.sku,
        counted.silent_days,
        sum(case when movements.movement_type = 'count' and movements.day >= counted.from_day then 0 else movements.change_units end)
            as recorded_units,
        -sum(case when movements.movement_type = 'count' and movements.day >= counted.from_day then movements.change_units else 0 end)
            as lacking_units
    from counted
    inner join folded_movements as movements
        on
            counted.sku = movements.sku
            and counted.location_id = movements.location_id
            and counted.counted_day >= movements.day
    group by counted.location_id, counted.from_day, counted.sku, counted.silent_days
),

usual as (
    select
        found.location_id,
        found.from_day,
        found.sku,
        sum(daily_balances.demand_units) / count(*) as daily_units,
        count(case when daily_balances.demand_units > 0 then 1 end) / count(*) as daily_chance
    from found
    inner join open_days
        on
            found.location_id = open_days.location_id
            and open_days.day between {{ add_days('found.from_day', -days_to_look_back) }} and {{ add_days('found.from_day', -1) }}
            and open_days.silent_days < {{ least_silent_days }}
    inner join daily_balances
        on
            found.sku = daily_balances.sku
            and found.location_id = daily_balances.location_id
            and open_days.day = daily_balances.day
            and not daily_balances.is_stocked_out
    group by found.location_id, found.from_day, found.sku
),

-- No more can be sold than there was.
expected as (
    select
        found.location_id,
        found.from_day,
        found.lacking_units,
        least(usual.daily_units * found.silent_days, found.recorded_units) as expected_units,
        least(usual.daily_units * found.silent_days, found.recorded_units) * usual.daily_chance / usual.daily_units as sale_days
    from found
    inner join usual
        on found.location_id = usual.location_id and found.from_day = usual.from_day and found.sku = usual.sku
    where usual.daily_units > 0 and found.recorded_units > 0
),

-- Items differ in their units: each weighs as much as the days on which it would have been sold.
counted_pauses as (
    select
        location_id,
        from_day,
        sum(sale_days * least(lacking_units / expected_units, 1)) / sum(sale_days) as lacking_share
    from expected
    where lacking_units >= -{{ most_surplus }} * expected_units
    group by location_id, from_day
    having sum(sale_days) >= {{ least_sale_days }}
)

select * from counted_pauses
