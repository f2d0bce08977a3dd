with product_seasons as (
    select * from {{ ref('stg_product_seasons') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

own_seasons as (
    select item_locations.sku, item_locations.location_id, product_seasons.from_date, product_seasons.to_date, 'sku' as declared_for
    from item_locations
    inner join product_seasons on item_locations.sku = product_seasons.sku
),

category_seasons as (
    select item_locations.sku, item_locations.location_id, product_seasons.from_date, product_seasons.to_date, 'category' as declared_for
    from item_locations
    inner join product_seasons on item_locations.category = product_seasons.category
    where item_locations.sku not in (select sku from own_seasons)
),

seasons as (
    select * from own_seasons
    union all
    select * from category_seasons
),

-- A product is ordered until its first successor takes over.
successions as (
    select predecessor_sku as sku, location_id, {{ add_days('min(from_date)', -1) }} as last_day
    from {{ ref('dim_product_links') }}
    group by predecessor_sku, location_id
),

until_succession as (
    select
        seasons.sku, seasons.location_id, seasons.from_date, least(seasons.to_date, successions.last_day) as to_date,
        seasons.declared_for
    from seasons
    left join successions on seasons.sku = successions.sku and seasons.location_id = successions.location_id
    where coalesce(seasons.from_date <= successions.last_day, true)
    union all
    select successions.sku, successions.location_id, cast(null as date), successions.last_day, 'successor'
    from successions
    left join seasons
        on
            successions.sku = seasons.sku
            and successions.location_id = seasons.location_id
            and coalesce(seasons.from_date <= successions.last_day, true)
    where seasons.sku is null
)

select * from until_succession
