with latest_version as (
    {{ latest_version('suppliers') }}
)

select * from latest_version
