{{ config(materialized='view') }}

with daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

unit_costs as (
    select * from {{ ref('dim_unit_costs') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

unobserved_days as (
    select location_id, day
    from {{ ref('int_location_days') }}
    where not is_observed
),

-- Plain comparisons of dates: with anything else in its condition a left join compares every row with every other.
cost_periods as (
    select
        sku,
        location_id,
        unit_cost,
        coalesce(from_date, date '0001-01-01') as first_day,
        coalesce(to_date, date '9999-12-31') as last_day
    from unit_costs
),

daily_stock as (
    select
        daily_balances.sku,
        daily_balances.location_id,
        daily_balances.day,
        daily_balances.opening_units,
        daily_balances.receipt_units,
        daily_balances.sales_units,
        daily_balances.other_units,
        daily_balances.closing_units,
        daily_balances.is_stocked_out and unobserved_days.day is null as is_stocked_out,
        coalesce(daily_balances.day >= spans.stock_known_from, false) as is_stock_known,
        cost_periods.unit_cost,
        cast(daily_balances.closing_units * cost_periods.unit_cost as decimal(18, 4)) as stock_value
    from daily_balances
    inner join spans on daily_balances.sku = spans.sku and daily_balances.location_id = spans.location_id
    left join unobserved_days
        on daily_balances.location_id = unobserved_days.location_id and daily_balances.day = unobserved_days.day
    left join cost_periods
        on
            daily_balances.sku = cost_periods.sku
            and daily_balances.location_id = cost_periods.location_id
            and daily_balances.day >= cost_periods.first_day
            and daily_balances.day <= cost_periods.last_day
)

select * from daily_stock
