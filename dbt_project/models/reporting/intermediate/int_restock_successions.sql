with product_links as (
    select * from {{ ref('dim_product_links') }}
    where is_direct
),

predecessor_stock as (
    select * from {{ ref('fct_predecessor_stock') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

left_units as (
    select
        sku, location_id, predecessor_sku, is_still_sold,
        round(sum(left_stock_units), 1) as on_hand_units,
        round(sum(left_units), 1) - round(sum(left_stock_units), 1) as on_order_units
    from predecessor_stock
    group by sku, location_id, predecessor_sku, is_still_sold
    having round(sum(left_units), 1) > 0
),

left_stock as (
    select
        sku,
        location_id,
        string_agg(
            concat(
                ' ',
                case
                    when on_order_units <= 0 then concat({{ number_text('on_hand_units') }}, ' units of ', predecessor_sku)
                    when on_hand_units <= 0 then concat({{ number_text('on_order_units') }}, ' units of ', predecessor_sku, ' on order')
                    else
                        concat(
                            {{ number_text('on_hand_units') }}, ' units of ', predecessor_sku, ' and ',
                            {{ number_text('on_order_units') }}, ' more on order'
                        )
                end,
                case
                    when is_still_sold then ' are sold first and count as on order.'
                    else ' are not counted: none was sold in the last 28 days.'
                end
            ), '' order by predecessor_sku
        ) as stock_text
    from left_units
    group by sku, location_id
),

following as (
    select
        sku,
        location_id,
        concat(
            ' It follows ',
            string_agg(
                concat(
                    predecessor_sku,
                    case when share < 1 then concat(' (', {{ number_text('100 * share') }}, ' % of its demand)') else '' end,
                    ' from ', {{ day_text('from_date') }}
                ), ', ' order by predecessor_sku
            ),
            ', whose demand it takes over.'
        ) as follows_text
    from product_links
    group by sku, location_id
),

followed as (
    select
        predecessor_sku as sku,
        location_id,
        min(from_date) as from_date,
        concat(
            ' ', string_agg(sku, ', ' order by sku), case when count(*) > 1 then ' follow' else ' follows' end, ' it from ',
            {{ day_text('min(from_date)') }}, ': it is not ordered from then on, and what is left or on order is sold first.'
        ) as followed_text
    from product_links
    group by predecessor_sku, location_id
),

items as (
    select sku, location_id from {{ ref('dim_item_locations') }}
),

successions as (
    select
        items.sku,
        items.location_id,
        followed.sku is not null as is_followed,
        coalesce(followed.from_date <= {{ add_days('as_of.as_of_date', 1) }}, false) as is_replaced,
        concat(
            coalesce(following.follows_text, ''), coalesce(left_stock.stock_text, ''), coalesce(followed.followed_text, '')
        ) as succession_text
    from items
    cross join as_of
    left join following on items.sku = following.sku and items.location_id = following.location_id
    left join followed on items.sku = followed.sku and items.location_id = followed.location_id
    left join left_stock on items.sku = left_stock.sku and items.location_id = left_stock.location_id
    where following.sku is not null or followed.sku is not null
)

select * from successions
