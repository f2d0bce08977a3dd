{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ forget_changed_stock() }}"
    )
}}

with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

kept as (
    {% if is_incremental() %}
    select
        sku,
        location_id,
        max(day) as kept_until,
        sum(receipt_units - sales_units + other_units) as closing_units
    from {{ this }}
    group by sku, location_id
    {% else %}
    select sku, location_id, last_day as kept_until, cast(0 as decimal(18, 3)) as closing_units
    from spans
    where false
    {% endif %}
),

to_append as (
    select
        spans.sku,
        spans.location_id,
        coalesce({{ add_days('kept.kept_until', 1) }}, spans.active_from) as from_day,
        spans.last_day,
        coalesce(kept.closing_units, 0) as kept_units
    from spans
    left join kept on spans.sku = kept.sku and spans.location_id = kept.location_id
),

item_days as (
    select to_append.sku, to_append.location_id, location_days.day, to_append.kept_units
    from to_append
    inner join location_days
        on
            to_append.location_id = location_days.location_id
            and location_days.day between to_append.from_day and to_append.last_day
),

movement_days as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        stock_movements.day,
        sum(case when stock_movements.movement_type = 'receipt' then stock_movements.change_units else 0 end) as receipt_units,
        -sum(
            case when stock_movements.movement_type in ('sale', 'cancellation') then stock_movements.change_units else 0 end
        ) as sales_units,
        sum(
            case
                when stock_movements.movement_type not in ('receipt', 'sale', 'cancellation') then stock_movements.change_units
                else 0
            end
        ) as other_units,
        sum(stock_movements.change_units) as change_units,
        min(
            case when stock_movements.movement_type = 'sale' then stock_movements.on_hand_after_units end
        ) as least_after_sale_units,
        sum(stock_movements.content_fingerprint) as inputs_fingerprint
    from stock_movements
    inner join to_append
        on
            stock_movements.sku = to_append.sku
            and stock_movements.location_id = to_append.location_id
            and stock_movements.day >= to_append.from_day
    group by stock_movements.sku, stock_movements.location_id, stock_movements.day
),

balances as (
    select
        item_days.sku,
        item_days.location_id,
        item_days.day,
        coalesce(movement_days.receipt_units, 0) as receipt_units,
        coalesce(movement_days.sales_units, 0) as sales_units,
        coalesce(movement_days.other_units, 0) as other_units,
        item_days.kept_units + sum(coalesce(movement_days.change_units, 0)) over (
            partition by item_days.sku, item_days.location_id
            order by item_days.day
            rows between unbounded preceding and current row
        ) as closing_units,
        movement_days.least_after_sale_units,
        coalesce(movement_days.inputs_fingerprint, 0) as inputs_fingerprint
    from item_days
    left join movement_days
        on
            item_days.sku = movement_days.sku
            and item_days.location_id = movement_days.location_id
            and item_days.day = movement_days.day
),

daily_stock as (
    select
        sku,
        location_id,
        day,
        cast(closing_units - receipt_units + sales_units - other_units as decimal(18, 3)) as opening_units,
        cast(receipt_units as decimal(18, 3)) as receipt_units,
        cast(sales_units as decimal(18, 3)) as sales_units,
        cast(other_units as decimal(18, 3)) as other_units,
        cast(closing_units as decimal(18, 3)) as closing_units,
        closing_units <= 0 or coalesce(least_after_sale_units <= 0, false) as is_stocked_out,
        cast(inputs_fingerprint as decimal(38, 0)) as inputs_fingerprint
    from balances
)

select * from daily_stock
