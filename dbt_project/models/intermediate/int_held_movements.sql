{{ config(materialized='ephemeral') }}

with stock_movements as (
    select * from {{ ref('int_reported_movements') }}
),

waiting_arrivals as (
    select * from {{ ref('int_waiting_arrivals') }}
),

superseded as (
    select * from {{ ref('int_superseded_movements') }}
),

waiting_movements as (
    select
        stock_movements.*,
        case
            when waiting_arrivals.unknown_rule is not null then waiting_arrivals.unknown_rule
            when not {{ can_be_right('stock_movements.occurred_at') }} then 'improbable_date'
            -- Of a day that is looked back at, what came after it is no trouble: a run of today counts it.
            when stock_movements.occurred_at >= waiting_arrivals.known_until {{ 'and false' if var('looks_back', false) }} then 'after_as_of'
        end as rule
    from stock_movements
    inner join waiting_arrivals
        on
            stock_movements.batch_id = waiting_arrivals.batch_id
            and stock_movements.sku = waiting_arrivals.sku
            and stock_movements.location_id = waiting_arrivals.location_id
    left join superseded
        on
            stock_movements.table_name = superseded.table_name
            and stock_movements.batch_id = superseded.batch_id
            and stock_movements.source_file = superseded.source_file
            and stock_movements.source_row = superseded.source_row
    where superseded.batch_id is null
),

held_movements as (
    select
        table_name, batch_id, ingested_at, source_file, source_row,
        concat_ws(
            ',', source, document, line, revision, occurred_at, recorded_at, sku, location_id, movement_type, quantity_units,
            unit_price, lot_id, reference, reason
        ) as original_text,
        rule, sku, location_id, cast(null as varchar) as supplier_id, cast(null as varchar) as category,
        occurred_at
    from waiting_movements
    where rule is not null
)

select * from held_movements
