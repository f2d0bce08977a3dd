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

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

-- Where a successor cannot be ordered and its predecessor can, it never arrives: there the predecessor goes on.
product_links as (
    select
        chains.sku,
        successors.location_id,
        chains.predecessor_sku,
        min(chains.from_date) as from_date,
        cast(round(least(sum(chains.share), 1), 4) as decimal(18, 4)) as share,
        min(chains.links) = 1 as is_direct
    from chains
    inner join item_locations as successors on chains.sku = successors.sku
    left join item_locations as predecessors
        on chains.predecessor_sku = predecessors.sku and successors.location_id = predecessors.location_id
    where successors.is_active and (successors.supplier_id is not null or predecessors.supplier_id is null)
    group by chains.sku, successors.location_id, chains.predecessor_sku
)

select * from product_links
