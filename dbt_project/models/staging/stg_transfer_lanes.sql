with transfer_lanes as (
    select * from {{ source('raw', 'transfer_lanes') }}
),

ranked as (
    select
        *,
        row_number() over (partition by from_location_id, to_location_id order by batch_id desc, source_row desc) as version_rank
    from transfer_lanes
),

latest_version as (
    select
        from_location_id,
        to_location_id,
        lead_time_days,
        unit_cost,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
