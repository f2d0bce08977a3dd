with product_seasons as (
    select * from {{ source('raw', 'product_seasons') }}
)

select * from product_seasons
