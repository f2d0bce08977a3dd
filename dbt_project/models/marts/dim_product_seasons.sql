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
),

-- A product is ordered until its first successor takes over.
successions as (
    select predecessor_sku as sku, {{ add_days('min(from_date)', -1) }} as last_day
    from {{ ref('dim_product_links') }}
    group by predecessor_sku
),

until_succession as (
    select seasons.sku, seasons.from_date, least(seasons.to_date, successions.last_day) as to_date, seasons.declared_for
    from seasons
    left join successions on seasons.sku = successions.sku
    where coalesce(seasons.from_date <= successions.last_day, true)
    union all
    select sku, cast(null as date) as from_date, last_day as to_date, 'successor' as declared_for
    from successions
    where sku not in (select sku from seasons where coalesce(from_date, date '0001-01-01') <= last_day)
)

select * from until_succession
