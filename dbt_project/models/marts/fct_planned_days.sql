with item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

days_to_come as (
    select * from location_days
    where days_ahead > 0
),

seasons as (
    select * from {{ ref('dim_product_seasons') }}
),

days_on_sale as (
    select distinct seasons.sku, seasons.location_id, days.day
    from seasons
    inner join (select distinct day from days_to_come) as days
        on days.day between coalesce(seasons.from_date, days.day) and seasons.to_date
),

-- A successor that has not sold yet begins where it takes over.
takeovers as (
    select sku, location_id, min(from_date) as from_date
    from {{ ref('dim_product_links') }}
    group by sku, location_id
),

seasonal as (
    select distinct sku, location_id from seasons
),

plan_bounds as (
    select min(day) as from_day, max(day) as until_day
    from days_to_come
),

{{ price_days('plan_bounds') }},

planned_days as (
    select
        item_locations.sku,
        item_locations.location_id,
        days_to_come.day,
        cast(days_to_come.days_ahead as integer) as days_ahead,
        coalesce(location_prices.unit_price, general_prices.unit_price, item_locations.unit_price) as unit_price,
        coalesce(location_prices.is_promotion, general_prices.is_promotion, false) as is_promotion,
        case when location_prices.day is null then general_prices.promotion_name else location_prices.promotion_name end
            as promotion_name,
        case when location_prices.day is null then general_prices.expected_uplift else location_prices.expected_uplift end
            as expected_uplift,
        days_to_come.event_name,
        days_to_come.is_open,
        days_to_come.day >= coalesce(item_locations.demand_from, days_to_come.day)
        and (days_on_sale.sku is not null or seasonal.sku is null)
        and coalesce(days_to_come.day >= takeovers.from_date or item_locations.mean_daily_demand_units > 0, true) as is_on_sale
    from item_locations
    inner join days_to_come on item_locations.location_id = days_to_come.location_id
    left join price_days as location_prices
        on
            item_locations.sku = location_prices.sku
            and item_locations.location_id = location_prices.location_id
            and days_to_come.day = location_prices.day
    left join price_days as general_prices
        on
            item_locations.sku = general_prices.sku
            and general_prices.location_id is null
            and days_to_come.day = general_prices.day
    left join takeovers on item_locations.sku = takeovers.sku and item_locations.location_id = takeovers.location_id
    left join seasonal on item_locations.sku = seasonal.sku and item_locations.location_id = seasonal.location_id
    left join days_on_sale
        on
            item_locations.sku = days_on_sale.sku
            and item_locations.location_id = days_on_sale.location_id
            and days_to_come.day = days_on_sale.day
)

select * from planned_days
