{{ config(materialized='view') }}

with demand_days as (
    select * from {{ ref('int_daily_demand') }}
),

daily_demand as (
    select
        sku,
        location_id,
        day,
        sales_units,
        demand_units,
        is_in_stock,
        unconstrained_demand_units,
        unit_price,
        is_promotion,
        event_name,
        is_open
    from demand_days
)

select * from daily_demand
