with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

exposed as (
    select * from recommendations
    where stockout_date_50 is not null and (next_delivery_date is null or stockout_date_50 < next_delivery_date)
),

limits as (
    select * from {{ ref('int_listing_limits') }}
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
        coalesce(empty_days.lost_margin, 0) as lost_margin,
        cast(
            coalesce(empty_days.lost_margin, 0)
            / greatest(coalesce({{ days_between('exposed.as_of_date', 'empty_days.last_empty_day') }}, 1), 1) as decimal(18, 4)
        ) as money_per_day,
        limits.listed_above_money_per_day
    from exposed
    inner join limits on exposed.sku = limits.sku and exposed.location_id = limits.location_id
    left join empty_days on exposed.sku = empty_days.sku and exposed.location_id = empty_days.location_id
),

listed as (
    select * exclude (listed_above_money_per_day) from risks
    where money_per_day >= listed_above_money_per_day
)

select * from listed
