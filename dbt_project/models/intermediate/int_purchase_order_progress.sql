with purchase_order_lines as (
    select * from {{ ref('stg_purchase_order_lines') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

receipts as (
    select reference, sum(quantity_units) as receipt_units
    from stock_movements
    where movement_type = 'receipt' and reference is not null
    group by reference
),

-- The one rule of time for supply. A run of the latest day counts every order line that has arrived, whenever it was placed. A
-- day that is looked back at counts what was ordered and what had come by its end; the line says how it stands today.
dated as (
    select
        purchase_order_lines.*,
        clocks.as_of_date,
        {{ local_day('purchase_order_lines.ordered_at', 'clocks.time_zone') }} as ordered_date,
        case
            when purchase_order_lines.confirmed_at < clocks.known_until
                then {{ local_day('purchase_order_lines.confirmed_at', 'clocks.time_zone') }}
        end as confirmed_date,
        {{ local_day('purchase_order_lines.received_at', 'clocks.time_zone') }} as received_date,
        {{ 'true' if var('running_day', false) else 'purchase_order_lines.ordered_at < clocks.known_until' }} as is_ordered,
        coalesce(purchase_order_lines.received_at < clocks.known_until, purchase_order_lines.received_at is null) as is_current
    from purchase_order_lines
    inner join products on purchase_order_lines.sku = products.sku
    inner join clocks on purchase_order_lines.location_id = clocks.location_id
),

-- Receipts booked against the line count where the line itself does not tell of them yet: else the same units would be on
-- hand and on order.
progress as (
    select
        dated.purchase_order_id,
        dated.line,
        dated.supplier_id,
        dated.sku,
        dated.location_id,
        dated.as_of_date,
        dated.ordered_date,
        dated.confirmed_date,
        dated.expected_date,
        case when dated.is_current then dated.received_date end as received_date,
        dated.ordered_units,
        greatest(
            case when dated.is_current then dated.received_units else 0 end, coalesce(receipts.receipt_units, 0)
        ) as received_units,
        dated.is_ordered,
        -- Nothing more comes on an open line that a full list of orders no longer has.
        dated.status = 'cancelled'
        or (
            dated.ended_date is not null
            and dated.status <> 'received'
            and greatest(dated.received_units, coalesce(receipts.receipt_units, 0)) < dated.ordered_units
        ) as is_cancelled,
        dated.is_current and dated.status = 'received' as is_closed,
        dated.proposal_id
    from dated
    left join receipts on concat(dated.purchase_order_id, ':', dated.line) = receipts.reference
)

select * from progress
