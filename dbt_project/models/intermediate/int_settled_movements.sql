with stock_movements as (
    select * from {{ ref('stg_stock_movements') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

corrected_lines as (
    select * from {{ ref('int_corrected_lines') }}
),

settled as (
    select
        stock_movements.*,
        clocks.time_zone,
        {{ fingerprint(['stock_movements.row_fingerprint', 'clocks.time_zone']) }} as content_fingerprint,
        products.sku is null as is_unknown_sku,
        clocks.location_id is null as is_unknown_location,
        coalesce(stock_movements.occurred_at >= clocks.known_until, false) as is_too_late
    from stock_movements
    left join products on stock_movements.sku = products.sku
    left join clocks on stock_movements.location_id = clocks.location_id
    left join corrected_lines
        on
            stock_movements.source = corrected_lines.source
            and stock_movements.document = corrected_lines.document
            and stock_movements.line = corrected_lines.line
    where corrected_lines.revision is null or stock_movements.revision = corrected_lines.revision
)

select * from settled
