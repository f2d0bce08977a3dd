with held as (
    select * from {{ ref('fct_stock_lots') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

limits as (
    select * from {{ ref('int_listing_limits') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
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
        unsold.days_to_expiry,
        unsold.left_units,
        cast(unsold.unsold_units as decimal(18, 3)) as unsold_units,
        cast(unsold.unsold_units * coalesce(item_locations.unit_cost, 0) as decimal(18, 4)) as unsold_value,
        cast(
            unsold.unsold_units * coalesce(item_locations.unit_cost, 0) / greatest(unsold.days_to_expiry, 1) as decimal(18, 4)
        ) as money_per_day
    from unsold
    inner join item_locations
        on unsold.sku = item_locations.sku and unsold.location_id = item_locations.location_id
    inner join limits on unsold.sku = limits.sku and unsold.location_id = limits.location_id
    where
        unsold.unsold_units >= 0.001
        and unsold.unsold_units * coalesce(item_locations.unit_cost, 0) / greatest(unsold.days_to_expiry, 1)
        >= limits.listed_above_money_per_day
)

select * from risks
