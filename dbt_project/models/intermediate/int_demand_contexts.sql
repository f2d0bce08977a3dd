{{ config(materialized='table') }}

with spans as (
    select sku, location_id, last_day as until_day
    from {{ ref('int_item_location_spans') }}
),

{{ demand_contexts('spans') }}

select * from demand_contexts
