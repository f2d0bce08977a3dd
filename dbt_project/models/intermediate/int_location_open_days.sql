{# Two weeks of days with sales show the pace of a location. #}
{% set least_days_with_sales = 14 %}

{{ config(materialized='table') }}

with folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

closed_days as (
    select distinct location_id, day
    from {{ ref('int_location_events') }}
    where event_type = 'closed'
),

sale_days as (
    select distinct folded_movements.location_id, folded_movements.day, clocks.as_of_date, locations.ended_date
    from folded_movements
    inner join clocks on folded_movements.location_id = clocks.location_id
    inner join locations on folded_movements.location_id = locations.location_id
    where folded_movements.movement_type = 'sale' and folded_movements.day <= clocks.as_of_date
),

-- A location that has ended has no open days afterwards.
histories as (
    select
        location_id,
        min(day) as first_day,
        least(as_of_date, {{ add_days('ended_date', -1) }}) as last_day
    from sale_days
    group by location_id, as_of_date, ended_date
    having count(*) >= {{ least_days_with_sales }}
),

each_open_day as (
    select days.*, {{ days_between("date '1970-01-01'", 'days.day') }} % 7 as weekday
    from (select location_id, {{ each_day('first_day', 'last_day') }} as day from histories) as days
    left join closed_days on days.location_id = closed_days.location_id and days.day = closed_days.day
    where closed_days.day is null
),

paces as (
    select
        each_open_day.location_id,
        each_open_day.weekday,
        count(*) as open_days,
        count(sale_days.day) as days_with_sales
    from each_open_day
    left join sale_days on each_open_day.location_id = sale_days.location_id and each_open_day.day = sale_days.day
    group by each_open_day.location_id, each_open_day.weekday
),

pauses as (
    select
        location_id,
        last_sale_day,
        end_day,
        {{ add_days('last_sale_day', 1) }} as from_day,
        coalesce({{ add_days('end_day', -1) }}, as_of_date) as until_day
    from (
        select
            location_id, as_of_date, day as last_sale_day,
            coalesce(lead(day) over (partition by location_id order by day), ended_date) as end_day
        from sale_days
    ) as following
),

paused as (
    select
        each_open_day.*,
        pauses.last_sale_day,
        pauses.from_day,
        pauses.until_day,
        pauses.end_day,
        case
            when pauses.from_day is null then 0
            else count(*) over (partition by each_open_day.location_id, pauses.from_day)
        end as silent_days,
        count(*) over (partition by each_open_day.location_id, pauses.from_day, each_open_day.weekday) as alike
    from each_open_day
    left join pauses
        on each_open_day.location_id = pauses.location_id and each_open_day.day between pauses.from_day and pauses.until_day
),

-- What a day without a sale is likely at the pace of the other days of its weekday.
open_days as (
    select
        paused.location_id,
        paused.day,
        paused.last_sale_day,
        paused.from_day,
        paused.until_day,
        paused.end_day,
        paused.silent_days,
        case
            when paused.from_day is not null then -ln(1 - paces.days_with_sales / (paces.open_days - paused.alike + 1))
        end as surprise
    from paused
    inner join paces on paused.location_id = paces.location_id and paused.weekday = paces.weekday
)

select * from open_days
