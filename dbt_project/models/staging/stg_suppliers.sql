with latest_version as (
    {{ latest_version('suppliers', keep_ended=true) }}
)

-- Without a day between two chances to order, every day is one.
select * replace (greatest(review_period_days, 1) as review_period_days) from latest_version
