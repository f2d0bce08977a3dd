{{ config(materialized='view') }}

with folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

stock_movements as (
    select
        concat(source, ':', document, ':', line, ':', revision) as movement_id,
        source,
        document,
        line,
        revision,
        occurred_at,
        recorded_at,
        ingested_at,
        day,
        sku,
        location_id,
        movement_type,
        quantity_units,
        change_units,
        on_hand_after_units,
        unit_price,
        lot_id,
        reference,
        reason
    from folded_movements
)

select * from stock_movements
