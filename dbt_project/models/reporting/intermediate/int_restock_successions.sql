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

left_stock as (
    select
        sku,
        location_id,
        string_agg(
            concat(
                ' ', {{ number_text('round(left_units, 1)') }}, ' units of ', predecessor_sku,
                case
                    when is_still_sold then ' are sold first and count as on order.'
                    else ' are not counted: none was sold in the last 28 days.'
                end
            ), '' order by predecessor_sku
        ) as stock_text
    from predecessor_stock
    where round(left_units, 1) > 0
    group by sku, location_id
),

following as (
    select
        sku,
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
    group by sku
),

followed as (
    select
        predecessor_sku as sku,
        min(from_date) as from_date,
        concat(
            ' ', string_agg(sku, ', ' order by sku), case when count(*) > 1 then ' follow' else ' follows' end, ' it from ',
            {{ day_text('min(from_date)') }}, ': no order of it arrives from then on, and what is left is sold first.'
        ) as followed_text
    from product_links
    group by predecessor_sku
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
    left join following on items.sku = following.sku
    left join followed on items.sku = followed.sku
    left join left_stock on items.sku = left_stock.sku and items.location_id = left_stock.location_id
    where following.sku is not null or followed.sku is not null
)

select * from successions
