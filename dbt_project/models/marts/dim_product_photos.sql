with product_photos as (
    select * from {{ ref('stg_product_photos') }}
),

current_version as (
    select
        photo_path,
        sku,
        label,
        taken_at,
        location_id,
        sha256
    from product_photos
)

select * from current_version
