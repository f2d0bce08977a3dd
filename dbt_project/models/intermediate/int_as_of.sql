{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('stg_stock_movements') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

movement_days as (
    select
        {{ quarter_hour('occurred_at') }} // 96 as utc_day,
        count(*) as movement_count,
        max(occurred_at) as latest_at
    from stock_movements
    group by {{ quarter_hour('occurred_at') }} // 96
),

tails as (
    select
        utc_day,
        latest_at,
        utc_day - lag(utc_day) over (order by utc_day) as days_since_previous,
        sum(movement_count) over (order by utc_day desc) as movements_from_here_on,
        sum(movement_count) over () as movements_in_all
    from movement_days
),

-- A mistyped year would end the business day in the far future and fill the years between with days without demand. What
-- lies beyond a gap of four weeks and is less than a thousandth of all movements does not set the clock; it is held.
stray as (
    select min(utc_day) as from_day
    from tails
    where days_since_previous > 28 and 1000 * movements_from_here_on < movements_in_all
),

latest as (
    select max(tails.latest_at) as latest_at
    from tails
    cross join stray
    where stray.from_day is null or tails.utc_day < stray.from_day
),

derived as (
    select
        min({{ local_day('latest.latest_at', 'locations.time_zone') }}) as latest_day,
        max(latest.latest_at) as latest_movement_at
    from latest
    cross join locations
),

as_of as (
    select
        {% if var('as_of', none) is not none %}
        cast('{{ var("as_of") }}' as date) as as_of_date,
        {% else %}
        {{ add_days('latest_day', -1) }} as as_of_date,
        {% endif %}
        latest_movement_at
    from derived
)

select * from as_of
