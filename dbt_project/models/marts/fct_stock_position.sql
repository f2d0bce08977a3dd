with stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

reservations as (
    select * from {{ ref('fct_reservations') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

on_hand as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        sum(stock_movements.change_units) as on_hand_units,
        -sum(
            case
                when stock_movements.day > as_of.as_of_date and stock_movements.movement_type in ('sale', 'cancellation')
                    then stock_movements.change_units
                else 0
            end
        ) as sold_since_units,
        {{ is_stock_known('stock_movements') }} as is_stock_known,
        max(case when stock_movements.movement_type = 'count' then stock_movements.day end) as last_counted_date,
        max(case when stock_movements.movement_type = 'receipt' then stock_movements.day end) as last_received_date
    from stock_movements
    cross join as_of
    group by stock_movements.sku, stock_movements.location_id
),

on_order as (
    select sku, location_id, sum(open_units) as on_order_units
    from open_orders
    where not is_doubtful
    group by sku, location_id
),

promised as (
    select
        sku,
        location_id,
        sum(case when is_doubtful then 0 else reserved_units end) as reserved_units,
        sum(case when is_doubtful then 0 else backordered_units end) as backordered_units,
        sum(case when is_doubtful then reserved_units + backordered_units else 0 end) as promised_doubtful_units,
        min(due_date) as next_due_date
    from reservations
    group by sku, location_id
),

-- A count says what unrecorded sales have left.
unrecorded as (
    select item_locations.sku, item_locations.location_id, count(*) as unrecorded_days
    from item_locations
    inner join locations on item_locations.location_id = locations.location_id
    inner join location_days on item_locations.location_id = location_days.location_id
    left join on_hand on item_locations.sku = on_hand.sku and item_locations.location_id = on_hand.location_id
    where
        location_days.is_open
        and location_days.days_ahead <= 0
        and location_days.day > locations.sales_known_until_date
        and location_days.day > coalesce(on_hand.last_counted_date, locations.sales_known_until_date)
    group by item_locations.sku, item_locations.location_id
),

terms as (
    select
        item_locations.sku,
        item_locations.location_id,
        as_of.as_of_date,
        coalesce(on_hand.on_hand_units, 0) as on_hand_units,
        greatest(coalesce(on_hand.sold_since_units, 0), 0) as sold_since_units,
        coalesce(on_order.on_order_units, 0) as on_order_units,
        coalesce(promised.reserved_units, 0) as reserved_units,
        coalesce(promised.backordered_units, 0) as backordered_units,
        coalesce(promised.promised_doubtful_units, 0) as promised_doubtful_units,
        promised.next_due_date,
        on_hand.last_counted_date,
        on_hand.last_received_date,
        coalesce(unrecorded.unrecorded_days, 0) as unrecorded_days,
        -- Where nothing has moved yet, the shelf is empty.
        coalesce(on_hand.is_stock_known, true) as is_stock_known
    from item_locations
    cross join as_of
    left join on_hand on item_locations.sku = on_hand.sku and item_locations.location_id = on_hand.location_id
    left join on_order on item_locations.sku = on_order.sku and item_locations.location_id = on_order.location_id
    left join promised on item_locations.sku = promised.sku and item_locations.location_id = promised.location_id
    left join unrecorded on item_locations.sku = unrecorded.sku and item_locations.location_id = unrecorded.location_id
),

positions as (
    select
        sku,
        location_id,
        as_of_date,
        cast(on_hand_units as decimal(18, 3)) as on_hand_units,
        cast(sold_since_units as decimal(18, 3)) as sold_since_units,
        cast(on_order_units as decimal(18, 3)) as on_order_units,
        cast(reserved_units as decimal(18, 3)) as reserved_units,
        cast(backordered_units as decimal(18, 3)) as backordered_units,
        cast(promised_doubtful_units as decimal(18, 3)) as promised_doubtful_units,
        cast(on_hand_units + on_order_units - backordered_units - reserved_units as decimal(18, 3)) as inventory_position_units,
        next_due_date,
        last_counted_date,
        last_received_date,
        is_stock_known and on_hand_units < 0 as is_negative,
        cast(unrecorded_days as integer) as unrecorded_days,
        is_stock_known
    from terms
)

select * from positions
