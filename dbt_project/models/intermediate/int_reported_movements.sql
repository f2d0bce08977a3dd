{#
    The one place where totals of sales by day become movements: what follows knows no difference. A view over the raw files and a
    table, so that the batches of a reader's condition alone are read.
#}
with stock_movements as (
    select * from {{ ref('stg_stock_movements') }}
),

daily_sales as (
    select * from {{ ref('int_daily_sales') }}
),

totals as (
    select
        source,
        document,
        1 as line,
        0 as revision,
        occurred_at,
        occurred_at as recorded_at,
        sku,
        location_id,
        case when counted_units > 0 then 'sale' else 'return' end as movement_type,
        -counted_units as quantity_units,
        unit_price,
        cast(null as varchar) as lot_id,
        cast(null as varchar) as reference,
        cast(null as varchar) as reason,
        batch_id,
        ingested_at,
        source_file,
        source_row,
        {# The instant follows the location; the units follow mapped codes and returns by line. #}
        {{ fingerprint(['batch_id', 'source_file', 'source_row', 'occurred_at', 'counted_units', 'unit_price']) }} as row_fingerprint
    from daily_sales
    where is_counted
),

reported as (
    select
        'stock_movements' as table_name, movement_id, source, document, line, revision, occurred_at, recorded_at, sku, location_id,
        movement_type, quantity_units, unit_price, lot_id, reference, reason, batch_id, ingested_at, source_file, source_row,
        row_fingerprint
    from stock_movements
    union all
    select
        'daily_sales' as table_name,
        concat(source, ':', document, ':', line, ':', revision) as movement_id,
        source, document, line, revision, occurred_at, recorded_at, sku, location_id,
        movement_type, quantity_units, unit_price, lot_id, reference, reason, batch_id, ingested_at, source_file, source_row,
        row_fingerprint
    from totals
)

select * from reported
