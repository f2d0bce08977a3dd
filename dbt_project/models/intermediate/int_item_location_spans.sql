{{ config(materialized='table') }}

with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

histories as (
    select
        sku,
        location_id,
        min(day) as first_day,
        min(case when movement_type = 'sale' then day end) as first_sale_day,
        min(case when {{ establishes_stock('stock_movements') }} then day end) as first_stock_day,
        max(day) as last_movement_day,
        sum(change_units) as on_hand_units
    from stock_movements
    where day <= (select as_of_date from as_of)
    group by sku, location_id
),

-- A product that may no longer be ordered still sells until its stock is gone. Nobody can ask for one before its launch: days
-- on which it only lies there are no demand of zero. Where it has sold before its launch date, the date is wrong.
ends as (
    select
        histories.sku,
        histories.location_id,
        histories.first_day as active_from,
        case
            when products.launched_date is null then histories.first_day
            when histories.first_sale_day < products.launched_date then histories.first_sale_day
            else greatest(histories.first_day, products.launched_date)
        end as demand_from,
        case when not products.is_active and histories.on_hand_units <= 0 then histories.last_movement_day end as active_to,
        -- On the first day that stock is known to have come, what was sold before it came has no record.
        case when histories.first_stock_day = histories.first_day then histories.first_day else {{ add_days('histories.first_stock_day', 1) }} end
            as stock_known_from,
        as_of.as_of_date
    from histories
    inner join products on histories.sku = products.sku
    cross join as_of
),

spans as (
    select
        sku,
        location_id,
        active_from,
        demand_from,
        active_to,
        stock_known_from,
        coalesce(active_to, as_of_date) as last_day
    from ends
)

select * from spans
