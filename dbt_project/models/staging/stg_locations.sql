with latest_version as (
    {{ latest_version('locations') }}
)

select * from latest_version
