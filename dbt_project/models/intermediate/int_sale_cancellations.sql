{# A table: what is read of it is read twice, and finding the sales takes a look at all movements. #}
{{ config(materialized='table') }}

with stock_movements as not materialized (
    select * from {{ ref('int_folded_movements') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

-- What is cancelled on the day that is still running changes the demand of the past once that day is complete.
cancellations as (
    select
        -- reference = source:document:line, where only the document may hold a colon
        split_part(stock_movements.reference, ':', 1) as source,
        regexp_extract(stock_movements.reference, '^[^:]*:(.*):[^:]*$', 1) as document,
        try_cast(regexp_extract(stock_movements.reference, '([^:]*)$', 1) as integer) as line,
        stock_movements.quantity_units,
        stock_movements.content_fingerprint
    from stock_movements
    inner join clocks on stock_movements.location_id = clocks.location_id
    where
        stock_movements.movement_type = 'cancellation'
        and stock_movements.reference is not null
        and stock_movements.day <= clocks.as_of_date
),

sales as (
    select * from stock_movements
    where movement_type = 'sale'
),

-- A sale is cancelled once: what is cancelled beyond it is another customer's demand (fct_doubtful_movements shows it).
cancelled_lines as (
    select
        sales.sku,
        sales.location_id,
        sales.day,
        least(sum(cancellations.quantity_units), -any_value(sales.quantity_units)) as cancelled_units,
        sum(cancellations.content_fingerprint) as cancellations_fingerprint
    from cancellations
    inner join sales
        on
            cancellations.source = sales.source
            and cancellations.document = sales.document
            and cancellations.line = sales.line
    group by sales.sku, sales.location_id, sales.day, sales.source, sales.document, sales.line
),

cancelled_sales as (
    select
        sku,
        location_id,
        day,
        sum(cancelled_units) as cancelled_units,
        sum(cancellations_fingerprint) as cancellations_fingerprint
    from cancelled_lines
    group by sku, location_id, day
)

select * from cancelled_sales
