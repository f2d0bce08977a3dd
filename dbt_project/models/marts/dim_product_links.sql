with recursive

judged as (
    select sku, predecessor_sku, from_date, share
    from {{ ref('int_judged_links') }}
    where rule is null
),

-- A successor takes over what its predecessor took over from others.
chains as (
    select sku, predecessor_sku, from_date, cast(share as double) as share, predecessor_sku as nearest_sku, 1 as links
    from judged
    union all
    select
        chains.sku, judged.predecessor_sku, chains.from_date, chains.share * cast(judged.share as double), chains.nearest_sku,
        chains.links + 1
    from chains
    inner join judged on chains.predecessor_sku = judged.sku
),

product_links as (
    select
        sku,
        predecessor_sku,
        min(from_date) as from_date,
        cast(round(least(sum(share), 1), 4) as decimal(18, 4)) as share,
        min(links) = 1 as is_direct
    from chains
    group by sku, predecessor_sku
)

select * from product_links
