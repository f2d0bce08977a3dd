with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

late as (
    select * from recommendations
    where status = 'order' and stockout_date_50 < expected_arrival_date
),

limits as (
    select * from {{ ref('int_listing_limits') }}
),

empty_days as (
    {{ empty_days('late', 'stockout_date_50', 'expected_arrival_date') }}
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
        coalesce(empty_days.lost_units, 0) as lost_units,
        coalesce(empty_days.lost_margin, 0) as lost_margin,
        cast(
            coalesce(empty_days.lost_margin, 0)
            / greatest(coalesce({{ days_between('late.as_of_date', 'empty_days.last_empty_day') }}, 1), 1) as decimal(18, 4)
        ) as money_per_day,
        limits.listed_above_money_per_day
    from late
    inner join limits on late.sku = limits.sku and late.location_id = limits.location_id
    left join empty_days on late.sku = empty_days.sku and late.location_id = empty_days.location_id
),

listed as (
    select * exclude (listed_above_money_per_day) from risks
    where money_per_day >= listed_above_money_per_day
)

select * from listed
