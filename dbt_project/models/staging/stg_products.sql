with accepted_versions as (
    select * from {{ ref('stg_product_units') }}
    where not is_refused
),

latest_version as (
    {{ latest_version('products', keep_ended=true, versions='accepted_versions') }}
)

-- History speaks of a product for ever; what has ended is not ordered any more.
select * replace (is_active and ended_date is null as is_active) from latest_version
