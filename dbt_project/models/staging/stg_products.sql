with products as (
    select * from {{ source('raw', 'products') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku order by batch_id desc, source_row desc) as version_rank
    from products
),

latest_version as (
    select
        sku,
        product_name,
        category,
        unit_of_measure,
        unit_cost,
        unit_price,
        case_pack_units,
        shelf_life_days,
        launched_date,
        is_active,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
