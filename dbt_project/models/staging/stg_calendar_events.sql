with latest_version as (
    {{ latest_version('calendar_events', keep_ended=true) }}
)

-- What has been until the end stays.
select * exclude (ended_date) from latest_version where coalesce(date <= ended_date, true)
