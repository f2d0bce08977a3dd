{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

histories as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        min(stock_movements.day) as first_day,
        max(stock_movements.day) as last_movement_day,
        sum(stock_movements.change_units) as on_hand_units
    from stock_movements
    inner join clocks on stock_movements.location_id = clocks.location_id
    where stock_movements.day <= clocks.as_of_date
    group by stock_movements.sku, stock_movements.location_id
),

-- A product that may no longer be ordered still sells until its stock is gone.
ends as (
    select
        histories.sku,
        histories.location_id,
        histories.first_day as active_from,
        case when not products.is_active and histories.on_hand_units <= 0 then histories.last_movement_day end as active_to,
        clocks.as_of_date
    from histories
    inner join products on histories.sku = products.sku
    inner join clocks on histories.location_id = clocks.location_id
),

spans as (
    select
        sku,
        location_id,
        active_from,
        active_to,
        coalesce(active_to, as_of_date) as last_day
    from ends
)

select * from spans
