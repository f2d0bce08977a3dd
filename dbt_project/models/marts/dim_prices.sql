with prices as (
    select * from {{ ref('stg_prices') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

described as (
    select
        prices.sku,
        prices.location_id,
        prices.from_date,
        prices.to_date,
        prices.unit_price,
        cast(1 - prices.unit_price / nullif(products.unit_price, 0) as double) as discount_share,
        prices.is_promotion,
        prices.promotion_name,
        prices.expected_uplift
    from prices
    inner join products on prices.sku = products.sku
)

select * from described
