with stock_lots as (
    select * from {{ source('raw', 'stock_lots') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku, location_id, lot_id order by batch_id desc, source_row desc) as version_rank
    from stock_lots
),

latest_version as (
    select
        sku,
        location_id,
        lot_id,
        expires_date,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
