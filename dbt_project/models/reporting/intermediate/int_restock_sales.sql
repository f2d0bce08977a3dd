with restock_lines as (
    select * from {{ source('predictions', 'restock_lines') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

as_of as (
    select max(as_of_date) as as_of_date from restock_lines
),

recent_sales as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.sales_units) as last_4_weeks_units
    from daily_demand
    cross join as_of
    where
        daily_demand.day > {{ add_days('as_of.as_of_date', -28) }}
        and daily_demand.day <= as_of.as_of_date
    group by daily_demand.sku, daily_demand.location_id
)

select * from recent_sales
