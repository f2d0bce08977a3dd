with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

policy_exceptions as (
    select * from {{ source('predictions', 'policy_exceptions') }}
),

exceptions as (
    select
        'recommendation' as exception_source,
        sku,
        location_id,
        cast(null as bigint) as policy_sequence,
        'no_order_worked_out' as cause,
        exception as remedy,
        as_of_date
    from recommendations
    where status = 'exception'
    union all
    select 'policy' as exception_source, sku, location_id, policy_sequence, cause, exception as remedy, as_of_date
    from policy_exceptions
)

select * from exceptions
