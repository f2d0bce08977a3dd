with latest_version as (
    {{ latest_version('daily_sales') }}
)

select * from latest_version
