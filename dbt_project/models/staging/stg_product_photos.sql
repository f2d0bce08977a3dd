with product_photos as (
    select * from {{ source('raw', 'product_photos') }}
),

ranked as (
    select
        *,
        row_number() over (partition by photo_path order by batch_id desc, source_row desc) as version_rank
    from product_photos
),

latest_version as (
    select
        photo_path,
        sku,
        label,
        taken_at,
        location_id,
        sha256,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
