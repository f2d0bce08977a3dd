with latest_version as (
    {{ latest_version('locations', keep_ended=true) }}
)

select * from latest_version
