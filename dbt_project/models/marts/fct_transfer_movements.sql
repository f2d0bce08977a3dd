with stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

transfer_movements as (
    select
        source,
        document,
        line,
        reference,
        sku,
        location_id,
        movement_type,
        cast(abs(quantity_units) as decimal(18, 3)) as units,
        day
    from stock_movements
    where movement_type in ('transfer_out', 'transfer_in') and quantity_units <> 0
)

select * from transfer_movements
