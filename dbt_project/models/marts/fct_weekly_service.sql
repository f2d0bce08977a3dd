with daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

weeks as (
    select
        sku,
        location_id,
        {{ week_start('day') }} as period_start,
        count(*) as days,
        count(case when is_open then 1 end) as open_days,
        count(case when is_open and not is_in_stock then 1 end) as out_of_stock_days,
        sum(demand_units) as served_units,
        sum(unconstrained_demand_units) as demand_units,
        sum((unconstrained_demand_units - demand_units) * unit_price) as lost_sales_value
    from daily_demand
    group by sku, location_id, {{ week_start('day') }}
),

service as (
    select
        sku,
        location_id,
        period_start,
        cast(days as integer) as days,
        cast(open_days as integer) as open_days,
        cast(out_of_stock_days as integer) as out_of_stock_days,
        cast(demand_units as decimal(18, 3)) as demand_units,
        cast(served_units as decimal(18, 3)) as served_units,
        cast(demand_units - served_units as decimal(18, 3)) as lost_units,
        cast(lost_sales_value as decimal(18, 4)) as lost_sales_value,
        cast(round(served_units / nullif(demand_units, 0), 6) as double) as fill_rate,
        out_of_stock_days > 0 as is_censored
    from weeks
)

select * from service
