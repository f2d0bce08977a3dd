with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

order_proposals as (
    select * from {{ source('predictions', 'order_proposals') }}
),

open_proposals as (
    select * from {{ source('predictions', 'open_proposals') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

proposed as (
    select
        order_proposals.proposal_id,
        'proposed' as state,
        recommendations.as_of_date,
        recommendations.supplier_id,
        recommendations.sku,
        recommendations.location_id,
        recommendations.order_units,
        recommendations.unit_cost,
        recommendations.order_by_date,
        recommendations.expected_arrival_date,
        recommendations.recommendation_id,
        recommendations.reason
    from order_proposals
    inner join recommendations
        on order_proposals.sku = recommendations.sku and order_proposals.location_id = recommendations.location_id
    where recommendations.status = 'order'
),

committed as (
    select
        proposal_id,
        state,
        proposed_for_date as as_of_date,
        supplier_id,
        sku,
        location_id,
        {{ units('open_units') }} as order_units,
        cast(nullif(unit_cost, cast('nan' as double)) as decimal(18, 4)) as unit_cost,
        order_by_date,
        expected_date as expected_arrival_date,
        cast(null as varchar) as recommendation_id,
        cast(null as varchar) as reason
    from open_proposals
),

proposals as (
    select * from proposed
    union all
    select * from committed
),

described as (
    select
        proposals.proposal_id,
        proposals.state,
        proposals.as_of_date,
        proposals.supplier_id,
        suppliers.supplier_name,
        proposals.sku,
        products.product_name,
        proposals.location_id,
        proposals.order_units,
        proposals.unit_cost,
        cast(proposals.order_units * coalesce(proposals.unit_cost, 0) as decimal(18, 4)) as order_value,
        proposals.order_by_date,
        proposals.expected_arrival_date,
        proposals.recommendation_id,
        proposals.reason
    from proposals
    left join suppliers on proposals.supplier_id = suppliers.supplier_id
    left join products on proposals.sku = products.sku
)

select * from described
