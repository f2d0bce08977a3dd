with latest_version as (
    {{ latest_version('prices', keep_ended=true) }}
)

-- What has been charged until the end stays.
select * exclude (ended_date) replace (least(to_date, coalesce(ended_date, to_date)) as to_date)
from latest_version
where coalesce(from_date <= ended_date, true)
