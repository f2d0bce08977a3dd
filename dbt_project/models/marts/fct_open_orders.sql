with progress as (
    select * from {{ ref('int_purchase_order_progress') }}
),

open_lines as (
    select
        purchase_order_id,
        line,
        supplier_id,
        sku,
        location_id,
        ordered_date,
        expected_date,
        cast(ordered_units - received_units as decimal(18, 3)) as open_units,
        -- A late order is taken to come tomorrow: nothing better is known of it.
        cast(greatest({{ days_between('as_of_date', 'expected_date') }}, 1) as integer) as periods_ahead,
        expected_date <= as_of_date as is_late,
        proposal_id
    from progress
    where not is_cancelled and not is_closed and ordered_units > received_units
)

select * from open_lines
