with recursive

product_links as (
    select * from {{ ref('stg_product_links') }}
),

products as (
    select sku, lower(trim(unit_of_measure)) as unit from {{ ref('stg_products') }}
),

-- Every product that a product follows, by any number of links.
reached as (
    select sku, predecessor_sku from product_links
    union
    select reached.sku, product_links.predecessor_sku
    from reached
    inner join product_links on reached.predecessor_sku = product_links.sku
),

shares as (
    select predecessor_sku, sum(share) as total_share
    from product_links
    where sku <> predecessor_sku and sku in (select sku from products)
    group by predecessor_sku
),

judged as (
    select
        product_links.sku,
        product_links.predecessor_sku,
        product_links.from_date,
        product_links.share,
        product_links.batch_id,
        product_links.ingested_at,
        product_links.source_file,
        product_links.source_row,
        shares.total_share,
        case
            when product_links.sku not in (select sku from products) then product_links.sku
            when product_links.predecessor_sku not in (select sku from products) then product_links.predecessor_sku
        end as unknown_sku,
        case
            when product_links.sku = product_links.predecessor_sku then 'link_to_itself'
            when product_links.sku not in (select sku from products) then 'unknown_sku'
            when product_links.predecessor_sku not in (select sku from products) then 'unknown_sku'
            when successors.unit <> predecessors.unit then 'link_units'
            when reached.sku is not null then 'link_cycle'
            when shares.total_share > 1 then 'link_shares'
        end as rule
    from product_links
    left join products as successors on product_links.sku = successors.sku
    left join products as predecessors on product_links.predecessor_sku = predecessors.sku
    left join shares on product_links.predecessor_sku = shares.predecessor_sku
    left join reached
        on product_links.predecessor_sku = reached.sku and product_links.sku = reached.predecessor_sku
)

select * from judged
