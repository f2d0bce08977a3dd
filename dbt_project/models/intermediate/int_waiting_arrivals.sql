{# A table, so that the planner knows how few these are and leaves the files of other batches unread. #}
{{ config(materialized='table') }}

with arrivals as (
    select * from {{ ref('int_movement_arrivals') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

waiting as (
    select
        arrivals.sku,
        arrivals.location_id,
        arrivals.batch_id,
        case
            when products.sku is null then 'unknown_sku'
            when clocks.location_id is null then 'unknown_location'
        end as unknown_rule,
        clocks.known_until
    from arrivals
    left join products on arrivals.sku = products.sku
    left join clocks on arrivals.location_id = clocks.location_id
    where
        products.sku is null
        or clocks.location_id is null
        or arrivals.latest_at >= clocks.known_until
        or not {{ can_be_right('arrivals.earliest_at') }}
        or not {{ can_be_right('arrivals.latest_at') }}
)

select * from waiting
