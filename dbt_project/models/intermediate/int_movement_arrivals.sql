{# The one look at all raw movements, over few columns. What changed, what waits and what is new is found from here, batch by batch. #}
{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('int_reported_movements') }}
),

arrivals as (
    select
        sku,
        location_id,
        batch_id,
        count(*) as movement_count,
        min(occurred_at) as earliest_at,
        max(occurred_at) as latest_at,
        sum(row_fingerprint) as rows_fingerprint
    from stock_movements
    group by sku, location_id, batch_id
)

select * from arrivals
