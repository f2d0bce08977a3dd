{# A table, so that the planner knows how few rows are ever superseded. #}
{{ config(materialized='table') }}

with stock_movements as not materialized (
    select * from {{ ref('stg_stock_movements') }}
),

corrected_lines as (
    select source, document, line, max(revision) as revision
    from stock_movements
    where revision > 0
    group by source, document, line
),

superseded as (
    select
        'stock_movements' as table_name,
        stock_movements.batch_id,
        stock_movements.source_file,
        stock_movements.source_row,
        stock_movements.movement_id,
        stock_movements.sku,
        stock_movements.location_id,
        stock_movements.occurred_at,
        stock_movements.row_fingerprint
    from stock_movements
    inner join corrected_lines
        on
            stock_movements.source = corrected_lines.source
            and stock_movements.document = corrected_lines.document
            and stock_movements.line = corrected_lines.line
    where stock_movements.revision < corrected_lines.revision
)

select * from superseded
