with stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

transfer_movements as (
    select
        reference,
        sku,
        location_id,
        movement_type,
        cast(sum(abs(quantity_units)) as decimal(18, 3)) as units,
        min(day) as first_date,
        max(day) as last_date
    from stock_movements
    where movement_type in ('transfer_out', 'transfer_in') and reference is not null and quantity_units <> 0
    group by reference, sku, location_id, movement_type
)

select * from transfer_movements
