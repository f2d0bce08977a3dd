with stock_movements as (
    select * from {{ source('raw', 'stock_movements') }}
),

identified as (
    select
        concat(source, ':', document, ':', line, ':', revision) as movement_id,
        source,
        document,
        line,
        revision,
        occurred_at,
        recorded_at,
        sku,
        location_id,
        movement_type,
        quantity_units,
        unit_price,
        lot_id,
        reference,
        reason,
        batch_id,
        ingested_at,
        source_file,
        source_row,
        {# A batch never changes: its id and the place in it stand for everything the row says. #}
        {{ fingerprint(['batch_id', 'source_file', 'source_row']) }} as row_fingerprint
    from stock_movements
)

select * from identified
