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
        row_number() over (
            partition by supplier_terms.sku, supplier_terms.location_id
            order by supplier_terms.priority, supplier_terms.unit_cost, supplier_terms.supplier_id
        ) as choice
    from supplier_terms
    inner join products on supplier_terms.sku = products.sku
    inner join locations on supplier_terms.location_id = locations.location_id
    inner join suppliers on supplier_terms.supplier_id = suppliers.supplier_id
),

first_choice as (
    select sku, location_id, supplier_id, lead_time_days, moq_units, order_multiple_units, unit_cost, priority
    from ranked
    where choice = 1
)

select * from first_choice
