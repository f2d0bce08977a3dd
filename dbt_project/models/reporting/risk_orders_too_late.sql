with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

late as (
    select * from recommendations
    where status = 'order' and stockout_date_50 < expected_arrival_date
),

-- Demand of the days on which the shelf is expected to be empty.
empty_days as (
    select
        late.sku,
        late.location_id,
        sum(forecasts.mean_units) as lost_units
    from late
    inner join forecasts on late.sku = forecasts.sku and late.location_id = forecasts.location_id
    where forecasts.day >= late.stockout_date_50
        and forecasts.day < late.expected_arrival_date
    group by late.sku, late.location_id
),

risks as (
    select
        late.sku,
        late.product_name,
        late.location_id,
        late.as_of_date,
        late.supplier_id,
        late.order_units,
        late.stockout_date_50,
        late.expected_arrival_date,
        late.next_delivery_date,
        cast({{ days_between('late.stockout_date_50', 'late.expected_arrival_date') }} as integer) as days_too_late,
        cast(coalesce(empty_days.lost_units, 0) as decimal(18, 3)) as lost_units,
        cast(
            coalesce(empty_days.lost_units, 0) * greatest(item_locations.unit_price - item_locations.unit_cost, 0)
            as decimal(18, 4)
        ) as lost_margin
    from late
    inner join item_locations on late.sku = item_locations.sku and late.location_id = item_locations.location_id
    left join empty_days on late.sku = empty_days.sku and late.location_id = empty_days.location_id
)

select * from risks
