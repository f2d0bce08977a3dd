with products as (
    select * from {{ source('raw', 'products') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku, batch_id order by source_row desc) as place
    from products
),

versions as (
    select
        sku,
        unit_cost,
        batch_id,
        ingested_at
    from ranked
    where place = 1
)

select * from versions
