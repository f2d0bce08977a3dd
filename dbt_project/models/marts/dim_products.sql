with products as (
    select * from {{ ref('stg_products') }}
),

current_version as (
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
        is_active
    from products
)

select * from current_version
