{#
    CTEs ending in `price_days`: the price of each day that `bounds` (one row: from_day, until_day) spans, for a location or,
    where location_id is null, for every location. Of overlapping periods the one that began last counts.
    A reader takes the price of the location before that of every location.
#}
{% macro price_days(bounds) %}
price_periods as (
    select
        prices.sku,
        prices.location_id,
        prices.from_date,
        prices.unit_price,
        prices.is_promotion,
        prices.promotion_name,
        prices.expected_uplift,
        greatest(prices.from_date, bounds.from_day) as used_from,
        least(prices.to_date, bounds.until_day) as used_to
    from {{ ref('stg_prices') }} as prices
    cross join {{ bounds }} as bounds
    where prices.from_date <= bounds.until_day and prices.to_date >= bounds.from_day
),

ranked_price_days as (
    select
        price_periods.sku,
        price_periods.location_id,
        calendar.day,
        price_periods.unit_price,
        price_periods.is_promotion,
        price_periods.promotion_name,
        price_periods.expected_uplift,
        row_number() over (
            partition by price_periods.sku, price_periods.location_id, calendar.day
            order by price_periods.from_date desc
        ) as recency
    from price_periods
    inner join (select distinct day from {{ ref('int_location_days') }}) as calendar
        on calendar.day between price_periods.used_from and price_periods.used_to
),

price_days as (
    select sku, location_id, day, unit_price, is_promotion, promotion_name, expected_uplift
    from ranked_price_days
    where recency = 1
)
{% endmacro %}
