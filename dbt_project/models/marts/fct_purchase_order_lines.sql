with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

purchase_order_lines as (
    select
        purchase_order_id,
        line,
        supplier_id,
        sku,
        location_id,
        ordered_date,
        confirmed_date,
        expected_date,
        received_date,
        ordered_units,
        cast(received_units as decimal(18, 3)) as received_units,
        case
            when not is_ordered then 'later'
            when is_cancelled then 'cancelled'
            when is_closed or received_units >= ordered_units then 'received'
            else 'open'
        end as progress,
        proposal_id
    from progress
)

select * from purchase_order_lines
