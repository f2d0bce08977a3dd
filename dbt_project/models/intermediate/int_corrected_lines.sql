{# A table, so that the planner knows how few lines are ever corrected and looks all movements up in them. #}
{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('stg_stock_movements') }}
),

corrected_lines as (
    select source, document, line, max(revision) as revision
    from stock_movements
    where revision > 0
    group by source, document, line
)

select * from corrected_lines
