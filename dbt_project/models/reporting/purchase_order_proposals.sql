with recommendations as (
    select * from {{ ref('restock_recommendations') }}
),

order_proposals as (
    select * from {{ source('predictions', 'order_proposals') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

supplier_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

-- What this run proposes stands in its recommendation; the terms of the others are those they were proposed with.
terms as (
    select
        order_proposals.proposal_id,
        order_proposals.state,
        order_proposals.sku,
        order_proposals.location_id,
        order_proposals.rejected_until_date,
        {{ units('order_proposals.rejected_until_units') }} as rejected_until_units,
        order_proposals.cause,
        order_proposals.decided_until,
        {{ units('order_proposals.acknowledged_units') }} as acknowledged_units,
        {{ units('order_proposals.adjusted_units') }} as adjusted_units,
        order_proposals.adjusted_by,
        case
            when order_proposals.state = 'proposed' then recommendations.as_of_date else order_proposals.proposed_for_date
        end as as_of_date,
        case
            when order_proposals.state = 'proposed' then recommendations.supplier_id else order_proposals.supplier_id
        end as supplier_id,
        case
            when order_proposals.state = 'proposed' then recommendations.order_units
            else {{ units('order_proposals.order_units') }}
        end as order_units,
        case
            when order_proposals.state = 'proposed' then recommendations.unit_cost
            else cast(nullif(order_proposals.unit_cost, cast('nan' as double)) as decimal(18, 4))
        end as unit_cost,
        case
            when order_proposals.state = 'proposed' then recommendations.order_by_date else order_proposals.order_by_date
        end as order_by_date,
        case
            when order_proposals.state = 'proposed' then recommendations.expected_arrival_date
            else order_proposals.expected_date
        end as expected_arrival_date,
        case when order_proposals.state in ('proposed', 'rejected') then recommendations.recommendation_id end as recommendation_id,
        case when order_proposals.state in ('proposed', 'rejected') then recommendations.reason end as reason,
        case when order_proposals.state in ('proposed', 'rejected') then recommendations.stockout_date_50 end as stockout_date,
        case
            when order_proposals.state in ('proposed', 'rejected')
                then recommendations.lost_margin_without_order - recommendations.lost_margin_with_order
        end as lost_margin_avoided
    from order_proposals
    left join recommendations
        on order_proposals.sku = recommendations.sku and order_proposals.location_id = recommendations.location_id
),

described as (
    select
        terms.proposal_id,
        terms.state,
        terms.as_of_date,
        terms.supplier_id,
        suppliers.supplier_name,
        terms.sku,
        products.product_name,
        terms.location_id,
        terms.order_units,
        terms.unit_cost,
        cast(coalesce(terms.adjusted_units, terms.order_units) * coalesce(terms.unit_cost, 0) as decimal(18, 4)) as order_value,
        suppliers.fixed_order_cost as supplier_fixed_order_cost,
        terms.order_by_date,
        terms.expected_arrival_date,
        terms.recommendation_id,
        terms.reason,
        terms.cause,
        terms.rejected_until_date,
        terms.rejected_until_units,
        terms.decided_until,
        terms.acknowledged_units,
        terms.adjusted_units,
        terms.adjusted_by,
        locations.location_name,
        products.unit_of_measure,
        supplier_terms.supplier_sku,
        coalesce(supplier_terms.order_multiple_units, 1) as pack_units,
        suppliers.minimum_order_value,
        terms.stockout_date,
        terms.lost_margin_avoided
    from terms
    left join suppliers on terms.supplier_id = suppliers.supplier_id
    left join products on terms.sku = products.sku
    left join locations on terms.location_id = locations.location_id
    left join supplier_terms
        on
            terms.sku = supplier_terms.sku
            and terms.location_id = supplier_terms.location_id
            and terms.supplier_id = supplier_terms.supplier_id
)

select * from described
