{{ config(materialized='view') }}

with daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

daily_stock as (
    select
        sku,
        location_id,
        day,
        opening_units,
        receipt_units,
        sales_units,
        other_units,
        closing_units,
        is_stocked_out
    from daily_balances
)

select * from daily_stock
