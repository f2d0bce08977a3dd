{# Days without demand after which stock of a predecessor is taken to be sold no more. #}
{% set days_sold = 28 %}

with product_links as (
    select * from {{ ref('dim_product_links') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

recent_demand as (
    select
        daily_demand.sku, daily_demand.location_id,
        sum(daily_demand.demand_units) as demand_units,
        sum(daily_demand.demand_units) > 0 or not bool_or(daily_demand.is_in_stock) as is_still_sold
    from daily_demand
    inner join positions on daily_demand.sku = positions.sku and daily_demand.location_id = positions.location_id
    where daily_demand.day > {{ add_days('positions.as_of_date', -days_sold) }}
    group by daily_demand.sku, daily_demand.location_id
),

links as (
    select
        product_links.*,
        positions.as_of_date,
        positions.on_hand_units - positions.reserved_units - positions.backordered_units as free_units,
        coalesce(recent_demand.demand_units, 0) / {{ days_sold }} as daily_units,
        coalesce(recent_demand.is_still_sold, false) as is_still_sold,
        cast(greatest({{ days_between('positions.as_of_date', 'product_links.from_date') }}, 1) as integer) as days_until_takeover
    from product_links
    inner join positions
        on product_links.predecessor_sku = positions.sku and product_links.location_id = positions.location_id
    left join recent_demand
        on positions.sku = recent_demand.sku and positions.location_id = recent_demand.location_id
),

orders as (
    select sku, location_id, periods_ahead, sum(open_units) as open_units
    from open_orders
    where not is_doubtful
    group by sku, location_id, periods_ahead
),

-- Stock that nobody was promised can be sold from the next day on; promises that it does not cover take from orders first.
supplies as (
    select
        sku, location_id, predecessor_sku, days_until_takeover, daily_units, 1 as from_period, greatest(free_units, 0) as stock_units,
        0 as order_units
    from links
    union all
    select
        links.sku, links.location_id, links.predecessor_sku, links.days_until_takeover, links.daily_units, orders.periods_ahead, 0,
        least(
            orders.open_units,
            greatest(
                least(links.free_units, 0) + sum(orders.open_units) over (
                    partition by links.sku, links.location_id, links.predecessor_sku order by orders.periods_ahead
                ), 0
            )
        )
    from links
    inner join orders on links.predecessor_sku = orders.sku and links.location_id = orders.location_id
),

-- Until the successor takes over, the predecessor goes on at its pace; when it has sold out, it waits for its next order.
running as (
    select
        sku, location_id, predecessor_sku,
        greatest(from_period, days_until_takeover) as periods_ahead,
        stock_units,
        order_units,
        sum(stock_units + order_units) over (
            partition by sku, location_id, predecessor_sku, greatest(from_period, days_until_takeover)
            order by from_period desc
        ) - daily_units * greatest(days_until_takeover - from_period, 0) as left_units,
        greatest(stock_units - daily_units * greatest(days_until_takeover - from_period, 0), 0) as left_stock_units
    from supplies
),

remaining as (
    select
        sku, location_id, predecessor_sku, periods_ahead,
        sum(stock_units) as available_units,
        sum(order_units) as on_order_units,
        greatest(max(left_units), 0) as left_units,
        max(left_stock_units) as left_stock_units
    from running
    group by sku, location_id, predecessor_sku, periods_ahead
),

predecessor_stock as (
    select
        remaining.sku, remaining.location_id, remaining.predecessor_sku,
        cast(remaining.periods_ahead as integer) as periods_ahead,
        links.from_date,
        links.share,
        links.as_of_date,
        links.days_until_takeover,
        cast(remaining.available_units as decimal(18, 3)) as available_units,
        cast(remaining.on_order_units as decimal(18, 3)) as on_order_units,
        cast(round(links.share * remaining.left_units, 3) as decimal(18, 3)) as left_units,
        cast(round(links.share * least(remaining.left_stock_units, remaining.left_units), 3) as decimal(18, 3)) as left_stock_units,
        links.is_still_sold
    from remaining
    inner join links
        on
            remaining.sku = links.sku
            and remaining.location_id = links.location_id
            and remaining.predecessor_sku = links.predecessor_sku
)

select * from predecessor_stock
