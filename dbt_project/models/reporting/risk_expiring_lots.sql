with stock_lots as (
    select * from {{ ref('stg_stock_lots') }}
),

stock_movements as (
    select * from {{ ref('fct_stock_movements') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

moved as (
    select sku, location_id, lot_id, sum(change_units) as lot_units
    from stock_movements
    where lot_id is not null and movement_type <> 'count'
    group by sku, location_id, lot_id
),

-- Movements rarely name the lot they take from: stock is taken to be sold by expiry date, so what is left is of the lots
-- that expire last.
later as (
    select
        stock_lots.sku,
        stock_lots.location_id,
        stock_lots.lot_id,
        stock_lots.expires_date,
        positions.as_of_date,
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
    select *, least(lot_units, on_hand_units - later_units) as left_units
    from later
    where on_hand_units > later_units
),

until_expiry as (
    select
        held.sku,
        held.location_id,
        held.lot_id,
        coalesce(sum(case when forecasts.day <= held.expires_date then forecasts.mean_units end), 0) as forecast_units,
        coalesce(avg(forecasts.mean_units), 0) as daily_units,
        max(forecasts.day) as last_day
    from held
    left join forecasts on held.sku = forecasts.sku and held.location_id = forecasts.location_id
    group by held.sku, held.location_id, held.lot_id
),

-- What lots up to this date hold beyond the demand until then is lost by then.
wasted as (
    select
        held.*,
        until_expiry.forecast_units
        + until_expiry.daily_units
        * greatest(coalesce({{ days_between('until_expiry.last_day', 'held.expires_date') }}, 0), 0) as demand_units,
        sum(held.left_units) over (
            partition by held.sku, held.location_id order by held.expires_date, held.lot_id
        ) as held_units
    from held
    inner join until_expiry
        on
            held.sku = until_expiry.sku
            and held.location_id = until_expiry.location_id
            and held.lot_id = until_expiry.lot_id
),

totals as (
    select
        *,
        max(greatest(held_units - demand_units, 0)) over (
            partition by sku, location_id order by expires_date, lot_id
        ) as wasted_by_then
    from wasted
),

unsold as (
    select
        *,
        wasted_by_then
        - lag(wasted_by_then, 1, 0) over (partition by sku, location_id order by expires_date, lot_id) as unsold_units
    from totals
),

risks as (
    select
        unsold.sku,
        item_locations.product_name,
        unsold.location_id,
        unsold.lot_id,
        unsold.as_of_date,
        unsold.expires_date,
        cast({{ days_between('unsold.as_of_date', 'unsold.expires_date') }} as integer) as days_to_expiry,
        cast(unsold.left_units as decimal(18, 3)) as left_units,
        cast(unsold.unsold_units as decimal(18, 3)) as unsold_units,
        cast(unsold.unsold_units * coalesce(item_locations.unit_cost, 0) as decimal(18, 4)) as unsold_value
    from unsold
    inner join item_locations
        on unsold.sku = item_locations.sku and unsold.location_id = item_locations.location_id
    where unsold.unsold_units >= 0.001
)

select * from risks
