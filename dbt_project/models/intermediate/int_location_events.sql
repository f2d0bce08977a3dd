with calendar_events as (
    select * from {{ ref('stg_calendar_events') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

location_events as (
    select distinct
        locations.location_id,
        calendar_events.date as day,
        calendar_events.event_name,
        calendar_events.event_type
    from calendar_events
    inner join locations
        on
            calendar_events.location_id = locations.location_id
            or (calendar_events.location_id is null and calendar_events.country = locations.country)
)

select * from location_events
