with location_days as (
    select * from {{ ref('int_location_days') }}
),

calendar as (
    select
        location_id,
        day,
        cast(days_ahead as integer) as days_ahead,
        {{ week_start('day') }} as week_start,
        {{ weekday_name('day') }} as weekday,
        event_name,
        is_open
    from location_days
)

select * from calendar
