with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

cancellations as (
    select
        -- reference = source:document:line, where only the document may hold a colon
        split_part(reference, ':', 1) as source,
        regexp_extract(reference, '^[^:]*:(.*):[^:]*$', 1) as document,
        try_cast(regexp_extract(reference, '([^:]*)$', 1) as integer) as line,
        quantity_units,
        content_fingerprint
    from stock_movements
    where movement_type = 'cancellation' and reference is not null
),

sales as (
    select * from stock_movements
    where movement_type = 'sale'
),

cancelled_sales as (
    select
        sales.sku,
        sales.location_id,
        sales.day,
        sum(cancellations.quantity_units) as cancelled_units,
        sum(cancellations.content_fingerprint) as cancellations_fingerprint
    from cancellations
    inner join sales
        on
            cancellations.source = sales.source
            and cancellations.document = sales.document
            and cancellations.line = sales.line
    group by sales.sku, sales.location_id, sales.day
)

select * from cancelled_sales
