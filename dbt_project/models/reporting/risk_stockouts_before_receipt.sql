with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

exposed as (
    select * from recommendations
    where stockout_date_50 is not null and (next_delivery_date is null or stockout_date_50 < next_delivery_date)
),

-- Demand of the days on which the shelf is expected to be empty.
empty_days as (
    select
        exposed.sku,
        exposed.location_id,
        sum(forecasts.mean_units) as lost_units
    from exposed
    inner join forecasts on exposed.sku = forecasts.sku and exposed.location_id = forecasts.location_id
    where forecasts.day >= exposed.stockout_date_50 and (forecasts.day < exposed.next_delivery_date or exposed.next_delivery_date is null)
    group by exposed.sku, exposed.location_id
),

risks as (
    select
        exposed.sku,
        exposed.product_name,
        exposed.location_id,
        exposed.as_of_date,
        exposed.on_hand_units,
        exposed.stockout_date_50,
        exposed.stockout_date_10,
        exposed.next_delivery_date,
        exposed.order_units,
        exposed.order_by_date,
        cast(coalesce(empty_days.lost_units, 0) as decimal(18, 3)) as lost_units,
        cast(
            coalesce(empty_days.lost_units, 0) * greatest(item_locations.unit_price - item_locations.unit_cost, 0)
            as decimal(18, 4)
        ) as lost_margin
    from exposed
    inner join item_locations
        on exposed.sku = item_locations.sku and exposed.location_id = item_locations.location_id
    left join empty_days on exposed.sku = empty_days.sku and exposed.location_id = empty_days.location_id
)

select * from risks
