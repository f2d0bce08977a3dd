{#
    CTEs ending in `hidden_demand`: what would have been asked for on a day out of stock, by the demand of open days in stock
    before it, planned use included. They read `item_days`, `append_bounds`, `daily_balances`, `location_days`, `spans` and
    `used_days` of int_daily_demand.
#}
{% macro hidden_demand() %}
{# Days before a stock-out whose demand shows what the stock-out hid: eight weeks, the same weekdays in each. #}
{% set days_to_look_back = 56 %}
days_out_of_stock as (
    select
        item_days.sku,
        item_days.location_id,
        item_days.day,
        {{ add_days('item_days.day', -days_to_look_back) }} as seen_from,
        item_days.demand_units + coalesce(used_days.used_units, 0) as demand_units
    from item_days
    inner join location_days
        on item_days.location_id = location_days.location_id and item_days.day = location_days.day
    left join used_days
        on item_days.sku = used_days.sku and item_days.location_id = used_days.location_id and item_days.day = used_days.day
    where item_days.is_stocked_out and location_days.is_open and location_days.is_observed
),

days_in_stock as (
    select
        daily_balances.sku,
        daily_balances.location_id,
        daily_balances.day,
        daily_balances.demand_units + coalesce(used_days.used_units, 0) as demand_units
    from daily_balances
    inner join spans
        on
            daily_balances.sku = spans.sku
            and daily_balances.location_id = spans.location_id
            and daily_balances.day >= spans.demand_from
    inner join location_days
        on daily_balances.location_id = location_days.location_id and daily_balances.day = location_days.day
    left join used_days
        on
            daily_balances.sku = used_days.sku
            and daily_balances.location_id = used_days.location_id
            and daily_balances.day = used_days.day
    where
        not daily_balances.is_stocked_out
        and location_days.is_open
        and location_days.is_observed
        {% if is_incremental() %}
        and daily_balances.day >= (select {{ add_days('from_day', -days_to_look_back) }} from append_bounds)
        {% endif %}
),

-- What a stock-out cut off was at least what was sold: of the demand seen before, only as much or more shows how much.
hidden_demand as (
    select
        days_out_of_stock.sku,
        days_out_of_stock.location_id,
        days_out_of_stock.day,
        round(sum(days_in_stock.demand_units) / count(*), 3) as demand_units
    from days_out_of_stock
    inner join days_in_stock
        on
            days_out_of_stock.sku = days_in_stock.sku
            and days_out_of_stock.location_id = days_in_stock.location_id
            and days_in_stock.day >= days_out_of_stock.seen_from
            and days_in_stock.day < days_out_of_stock.day
            and days_in_stock.demand_units >= days_out_of_stock.demand_units
    group by days_out_of_stock.sku, days_out_of_stock.location_id, days_out_of_stock.day
)
{% endmacro %}
