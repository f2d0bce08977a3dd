with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

other_consumption as (
    select * from {{ ref('int_other_consumption') }}
),

-- What is booked back on the day was not used.
used_days as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        stock_movements.day,
        greatest(-sum(stock_movements.change_units), 0) as used_units
    from stock_movements
    inner join other_consumption
        on stock_movements.sku = other_consumption.sku and stock_movements.location_id = other_consumption.location_id
    where stock_movements.movement_type = 'adjustment' and other_consumption.is_planned
    group by stock_movements.sku, stock_movements.location_id, stock_movements.day
)

select * from used_days
