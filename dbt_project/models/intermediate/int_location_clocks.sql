with locations as (
    select * from {{ ref('stg_locations') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

clocks as (
    select
        locations.location_id,
        locations.country,
        locations.time_zone,
        {{ fingerprint(['locations.time_zone']) }} as zone_fingerprint,
        as_of.as_of_date,
        {{ start_of_local_day(add_days('as_of.as_of_date', 2 if var('running_day', false) else 1), 'locations.time_zone') }}
            as known_until
    from locations
    cross join as_of
)

select * from clocks
