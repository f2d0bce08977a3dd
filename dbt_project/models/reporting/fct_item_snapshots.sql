{{ config(materialized='view') }}

with item_snapshots as (
    select * from {{ source('predictions', 'item_snapshots') }}
),

valued as (
    select
        sku,
        location_id,
        as_known_on,
        demand_units,
        is_in_stock,
        on_hand_units,
        sold_since_units,
        on_order_units,
        inventory_position_units,
        unit_cost,
        cast(on_hand_units * unit_cost as decimal(18, 4)) as stock_value,
        unit_price,
        supplier_id,
        status,
        cast(order_units as decimal(18, 3)) as order_units
    from item_snapshots
)

select * from valued
