with locations as (
    select * from {{ ref('stg_locations') }}
),

silences as (
    select * from {{ ref('int_location_silences') }}
    where is_ongoing and is_missing
),

current_version as (
    select
        locations.location_id,
        locations.location_name,
        locations.location_type,
        locations.country,
        locations.time_zone,
        silences.last_sale_day as sales_known_until_date,
        locations.valid_to,
        locations.ended_date
    from locations
    left join silences on locations.location_id = silences.location_id
)

select * from current_version
