{# Days without demand after which stock of a predecessor is taken to be sold no more. #}
{% set days_sold = 28 %}

with product_links as (
    select * from {{ ref('dim_product_links') }}
),

positions as (
    select * from {{ ref('fct_stock_position') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

recent_demand as (
    select daily_demand.sku, daily_demand.location_id, sum(daily_demand.demand_units) as demand_units
    from daily_demand
    inner join positions on daily_demand.sku = positions.sku and daily_demand.location_id = positions.location_id
    where daily_demand.day > {{ add_days('positions.as_of_date', -days_sold) }}
    group by daily_demand.sku, daily_demand.location_id
),

joined as (
    select
        product_links.sku,
        positions.location_id,
        product_links.predecessor_sku,
        product_links.from_date,
        product_links.share,
        positions.as_of_date,
        cast(
            greatest(positions.on_hand_units - positions.reserved_units - positions.backordered_units, 0) as decimal(18, 3)
        ) as available_units,
        coalesce(recent_demand.demand_units, 0) as recent_units,
        cast(greatest({{ days_between('positions.as_of_date', 'product_links.from_date') }}, 1) as integer) as days_until_takeover
    from product_links
    inner join positions on product_links.predecessor_sku = positions.sku
    inner join item_locations
        on product_links.sku = item_locations.sku and positions.location_id = item_locations.location_id
    left join recent_demand
        on positions.sku = recent_demand.sku and positions.location_id = recent_demand.location_id
),

-- Until the successor takes over, the predecessor goes on at its pace.
predecessor_stock as (
    select
        sku,
        location_id,
        predecessor_sku,
        from_date,
        share,
        as_of_date,
        days_until_takeover,
        available_units,
        cast(
            round(share * greatest(available_units - recent_units / {{ days_sold }} * (days_until_takeover - 1), 0), 3)
            as decimal(18, 3)
        ) as left_units,
        recent_units > 0 as is_still_sold
    from joined
)

select * from predecessor_stock
