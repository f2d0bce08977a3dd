with transfer_lanes as (
    select * from {{ ref('stg_transfer_lanes') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

known as (
    select
        transfer_lanes.from_location_id,
        transfer_lanes.to_location_id,
        cast(ceil(transfer_lanes.lead_time_days) as integer) as lead_time_days,
        transfer_lanes.unit_cost,
        transfer_lanes.valid_to
    from transfer_lanes
    inner join locations as origins on transfer_lanes.from_location_id = origins.location_id
    inner join locations as goals on transfer_lanes.to_location_id = goals.location_id
    where transfer_lanes.from_location_id <> transfer_lanes.to_location_id
)

select * from known
