with suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

current_version as (
    select
        supplier_id,
        supplier_name,
        minimum_order_value,
        fixed_order_cost,
        review_period_days,
        order_weekdays,
        valid_to,
        ended_date
    from suppliers
)

select * from current_version
