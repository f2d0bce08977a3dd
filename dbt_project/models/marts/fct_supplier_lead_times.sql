with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

received_lines as (
    select
        purchase_order_id,
        line,
        supplier_id,
        sku,
        location_id,
        ordered_date,
        received_date,
        cast({{ days_between('ordered_date', 'received_date') }} as integer) as lead_time_days
    from progress
    where
        is_ordered
        and not is_cancelled
        and received_date >= ordered_date
        and (is_closed or received_units >= ordered_units)
)

select * from received_lines
