with latest_version as (
    {{ latest_version('transfer_lanes') }}
)

select * from latest_version
