with latest_version as (
    {{ latest_version('calendar_events') }}
)

select * from latest_version
