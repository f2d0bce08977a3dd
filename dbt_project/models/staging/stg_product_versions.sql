with products as (
    select * from {{ ref('stg_product_units') }}
    where not is_refused
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
