with locations as (
    select * from {{ source('raw', 'locations') }}
),

ranked as (
    select
        *,
        row_number() over (partition by location_id order by batch_id desc, source_row desc) as version_rank
    from locations
),

latest_version as (
    select
        location_id,
        location_name,
        location_type,
        country,
        time_zone,
        day_ends_at,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
