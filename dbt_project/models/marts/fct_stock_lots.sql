with stock_lots as (
    select * from {{ ref('stg_stock_lots') }}
),

stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

last_counts as (
    select sku, location_id, lot_id, max(occurred_at) as counted_at
    from stock_movements
    where lot_id is not null and movement_type = 'count'
    group by sku, location_id, lot_id
),

-- What is on record of a lot: its last count, and what named it since. Lines of one instant are shelves of one lot.
moved as (
    select stock_movements.sku, stock_movements.location_id, stock_movements.lot_id, sum(stock_movements.quantity_units) as lot_units
    from stock_movements
    left join last_counts
        on
            stock_movements.sku = last_counts.sku
            and stock_movements.location_id = last_counts.location_id
            and stock_movements.lot_id = last_counts.lot_id
    where
        stock_movements.lot_id is not null
        and case
            when stock_movements.movement_type = 'count' then stock_movements.occurred_at = last_counts.counted_at
            else stock_movements.occurred_at > last_counts.counted_at or last_counts.counted_at is null
        end
    group by stock_movements.sku, stock_movements.location_id, stock_movements.lot_id
),

-- Movements rarely name the lot they take from: stock is taken to be sold by expiry date, so what is left is of the lots
-- that expire last.
later as (
    select
        stock_lots.sku,
        stock_lots.location_id,
        stock_lots.lot_id,
        positions.as_of_date,
        stock_lots.expires_date,
        positions.on_hand_units,
        moved.lot_units,
        coalesce(
            sum(moved.lot_units) over (
                partition by stock_lots.sku, stock_lots.location_id
                order by stock_lots.expires_date desc, stock_lots.lot_id desc
                rows between unbounded preceding and 1 preceding
            ), 0
        ) as later_units
    from stock_lots
    inner join moved
        on
            stock_lots.sku = moved.sku
            and stock_lots.location_id = moved.location_id
            and stock_lots.lot_id = moved.lot_id
            and moved.lot_units > 0
    inner join positions on stock_lots.sku = positions.sku and stock_lots.location_id = positions.location_id
),

held as (
    select
        sku,
        location_id,
        lot_id,
        as_of_date,
        expires_date,
        cast({{ days_between('as_of_date', 'expires_date') }} as integer) as days_to_expiry,
        cast(least(lot_units, on_hand_units - later_units) as decimal(18, 3)) as left_units
    from later
    where on_hand_units > later_units
)

select * from held
