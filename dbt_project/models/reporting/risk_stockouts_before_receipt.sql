with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

exposed as (
    select * from recommendations
    where stockout_date_50 is not null and (next_delivery_date is null or stockout_date_50 < next_delivery_date)
),

empty_days as (
    {{ empty_days('exposed', 'stockout_date_50', 'next_delivery_date') }}
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
        coalesce(empty_days.lost_units, 0) as lost_units,
        coalesce(empty_days.lost_margin, 0) as lost_margin
    from exposed
    left join empty_days on exposed.sku = empty_days.sku and exposed.location_id = empty_days.location_id
)

select * from risks
