with supplier_terms as (
    select * from {{ ref('stg_supplier_terms') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

ranked as (
    select
        supplier_terms.*,
        products.case_pack_units,
        row_number() over (
            partition by supplier_terms.sku, supplier_terms.location_id
            order by supplier_terms.priority, supplier_terms.unit_cost, supplier_terms.supplier_id
        ) as choice
    from supplier_terms
    inner join products on supplier_terms.sku = products.sku
    inner join locations on supplier_terms.location_id = locations.location_id
    inner join suppliers on supplier_terms.supplier_id = suppliers.supplier_id
    where locations.ended_date is null and suppliers.ended_date is null
),

-- The one place where the order multiple is decided: what the supplier asks for, else the case of the product.
first_choice as (
    select
        sku,
        location_id,
        supplier_id,
        lead_time_days,
        moq_units,
        coalesce(order_multiple_units, case_pack_units) as order_multiple_units,
        case
            when order_multiple_units is not null then 'terms'
            when case_pack_units is not null then 'case_pack'
            else 'none'
        end as order_multiple_source,
        unit_cost,
        priority,
        supplier_sku,
        valid_to
    from ranked
    where choice = 1
)

select * from first_choice
