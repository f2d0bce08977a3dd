with open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

risks as (
    select
        open_orders.purchase_order_id,
        open_orders.line,
        open_orders.supplier_id,
        suppliers.supplier_name,
        open_orders.sku,
        products.product_name,
        open_orders.location_id,
        positions.as_of_date,
        open_orders.ordered_date,
        open_orders.confirmed_date,
        open_orders.expected_date,
        cast({{ days_between('open_orders.expected_date', 'positions.as_of_date') }} as integer) as days_late,
        open_orders.is_doubtful,
        case
            when not open_orders.is_doubtful then {{ add_days('positions.as_of_date', 'open_orders.periods_ahead') }}
        end as likely_arrival_date,
        open_orders.open_units,
        recommendations.stockout_date_50
    from open_orders
    inner join positions
        on open_orders.sku = positions.sku and open_orders.location_id = positions.location_id
    inner join products on open_orders.sku = products.sku
    left join suppliers on open_orders.supplier_id = suppliers.supplier_id
    left join recommendations
        on open_orders.sku = recommendations.sku and open_orders.location_id = recommendations.location_id
    where open_orders.is_late
)

select * from risks
