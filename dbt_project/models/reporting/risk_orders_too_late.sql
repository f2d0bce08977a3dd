with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

late as (
    select * from recommendations
    where status = 'order' and stockout_date_50 < expected_arrival_date
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
        coalesce(empty_days.lost_margin, 0) as lost_margin
    from late
    left join empty_days on late.sku = empty_days.sku and late.location_id = empty_days.location_id
)

select * from risks
