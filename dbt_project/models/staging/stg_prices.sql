with latest_version as (
    {{ latest_version('prices') }}
)

select * from latest_version
