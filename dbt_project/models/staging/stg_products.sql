with latest_version as (
    {{ latest_version('products', keep_ended=true) }}
)

-- History speaks of a product for ever; what has ended is not ordered any more.
select * replace (is_active and ended_date is null as is_active) from latest_version
