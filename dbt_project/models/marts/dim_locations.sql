with locations as (
    select * from {{ ref('stg_locations') }}
),

current_version as (
    select
        location_id,
        location_name,
        location_type,
        country,
        time_zone
    from locations
)

select * from current_version
