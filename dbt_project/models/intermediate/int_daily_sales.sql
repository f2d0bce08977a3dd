{# A table: it looks at all movements of the items with totals once. #}
{{ config(materialized='table') }}

with daily_sales as (
    select * from {{ ref('stg_daily_sales') }}
),

stock_movements as not materialized (
    select * from {{ ref('stg_stock_movements') }}
),

superseded as (
    select * from {{ ref('int_superseded_movements') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

-- A total of a location that is not known yet waits, whatever its instant.
dated as (
    select
        daily_sales.*,
        {{ end_of_business_day('daily_sales.day', 'locations.day_ends_at', "coalesce(locations.time_zone, 'UTC')") }} as occurred_at
    from daily_sales
    left join locations on daily_sales.location_id = locations.location_id
),

items as (
    select distinct daily_sales.sku, daily_sales.location_id, locations.time_zone
    from daily_sales
    inner join locations on daily_sales.location_id = locations.location_id
),

-- Line by line, the sales of an item on a day, and what came back on it.
movement_days as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        {{ local_day('stock_movements.occurred_at', 'items.time_zone') }} as day,
        count(case when stock_movements.movement_type = 'sale' then 1 end) as sale_lines,
        sum(case when stock_movements.movement_type = 'return' then stock_movements.quantity_units else 0 end) as returned_units,
        -sum(case when stock_movements.movement_type = 'sale' then stock_movements.quantity_units else 0 end) as sold_units,
        -sum(stock_movements.quantity_units) as net_units,
        min(stock_movements.source) as source
    from stock_movements
    inner join items on stock_movements.sku = items.sku and stock_movements.location_id = items.location_id
    left join superseded
        on
            stock_movements.batch_id = superseded.batch_id
            and stock_movements.source_file = superseded.source_file
            and stock_movements.source_row = superseded.source_row
    where
        stock_movements.movement_type in ('sale', 'return', 'cancellation')
        and stock_movements.quantity_units <> 0
        and superseded.batch_id is null
    group by
        stock_movements.sku,
        stock_movements.location_id,
        {{ local_day('stock_movements.occurred_at', 'items.time_zone') }}
),

compared as (
    select
        dated.*,
        case when dated.revenue / nullif(dated.units, 0) >= 0 then cast(dated.revenue / dated.units as decimal(18, 4)) end as unit_price,
        concat('daily total ', dated.day, ' ', dated.location_id, ' ', dated.sku) as document,
        sum(dated.units) over (partition by dated.sku, dated.location_id, dated.day) as total_units,
        coalesce(movement_days.sale_lines > 0, false) as is_booked_by_line,
        -- A total is net: what came back line by line is part of it, and is added to the first total of the day alone.
        dated.units + case
            when row_number() over (partition by dated.sku, dated.location_id, dated.day order by dated.units = 0, dated.source) = 1
                then coalesce(movement_days.returned_units, 0)
            else 0
        end as counted_units,
        movement_days.sold_units as booked_sold_units,
        movement_days.net_units as booked_net_units,
        movement_days.source as booked_by
    from dated
    left join movement_days
        on
            dated.sku = movement_days.sku
            and dated.location_id = movement_days.location_id
            and dated.day = movement_days.day
),

judged as (
    select
        * replace (cast(counted_units as decimal(18, 3)) as counted_units),
        units <> 0 and counted_units <> 0 and not is_booked_by_line as is_counted,
        is_booked_by_line and total_units <> booked_sold_units and total_units <> booked_net_units as is_contradicted
    from compared
)

select * from judged
