{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

calendar_events as (
    select * from {{ ref('stg_calendar_events') }}
),

first_days as (
    select location_id, min(day) as first_day
    from stock_movements
    group by location_id
),

location_days as (
    select
        clocks.location_id,
        clocks.country,
        cast(days.day as date) as day
    from first_days
    inner join clocks on first_days.location_id = clocks.location_id
    cross join lateral (
        select unnest(generate_series(first_days.first_day, clocks.as_of_date, interval 1 day)) as day
    ) as days
),

event_days as (
    select
        country,
        date as day,
        {{ dbt.listagg('event_name', "', '", 'order by event_name') }} as event_name,
        max(case when event_type = 'closed' then 1 else 0 end) = 1 as is_closed
    from calendar_events
    group by country, date
),

described as (
    select
        location_days.location_id,
        location_days.day,
        event_days.event_name,
        not coalesce(event_days.is_closed, false) as is_open
    from location_days
    left join event_days
        on location_days.country = event_days.country and location_days.day = event_days.day
)

select * from described
