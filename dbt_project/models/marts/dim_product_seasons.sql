with product_seasons as (
    select * from {{ ref('stg_product_seasons') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

own_seasons as (
    select products.sku, product_seasons.from_date, product_seasons.to_date, 'sku' as declared_for
    from products
    inner join product_seasons on products.sku = product_seasons.sku
),

category_seasons as (
    select products.sku, product_seasons.from_date, product_seasons.to_date, 'category' as declared_for
    from products
    inner join product_seasons on products.category = product_seasons.category
    where products.sku not in (select sku from own_seasons)
),

seasons as (
    select * from own_seasons
    union all
    select * from category_seasons
)

select * from seasons
