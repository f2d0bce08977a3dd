with late_orders as (
    select * from {{ ref('risk_late_purchase_orders') }}
),

shortages as (
    select * from {{ ref('int_alert_shortages') }}
),

-- A late order that may still come is an alert only as the cause of a shelf that runs empty, and that names it.
alerts as (
    select
        'late_order' as kind,
        'late_order' as cause,
        late_orders.sku,
        late_orders.location_id,
        late_orders.supplier_id,
        late_orders.purchase_order_id,
        late_orders.line,
        late_orders.as_of_date,
        late_orders.expected_date as from_date,
        late_orders.open_units as units,
        coalesce(shortages.money_per_day, 0) as money_per_day,
        concat(
            'It was due on ', {{ day_text('late_orders.expected_date') }},
            ', is later than this supplier ever was and counts no more: ask the supplier, or close the order line.'
        ) as cure
    from late_orders
    left join shortages on late_orders.sku = shortages.sku and late_orders.location_id = shortages.location_id
    where
        late_orders.is_doubtful
        and (
            shortages.late_order_id is null
            or shortages.cause <> 'late_order'
            or shortages.late_order_id <> late_orders.purchase_order_id
            or shortages.late_line <> late_orders.line
        )
)

select * from alerts
