with product_versions as (
    select * from {{ ref('stg_product_versions') }}
),

term_versions as (
    select * from {{ ref('int_preferred_term_versions') }}
),

batch_days as (
    select * from {{ ref('int_batch_days') }}
),

item_locations as (
    select sku, location_id from {{ ref('int_item_location_spans') }}
    union
    select sku, location_id from {{ ref('int_preferred_supplier_terms') }}
),

changes as (
    select item_locations.sku, item_locations.location_id, product_versions.batch_id, batch_days.from_date
    from item_locations
    inner join product_versions on item_locations.sku = product_versions.sku
    inner join batch_days on product_versions.batch_id = batch_days.batch_id
    union
    select item_locations.sku, item_locations.location_id, term_versions.batch_id, term_versions.from_date
    from item_locations
    inner join term_versions on item_locations.sku = term_versions.sku and item_locations.location_id = term_versions.location_id
),

-- What each change left in force: the supplier's cost, else that of the product.
in_force as (
    select
        changes.sku,
        changes.location_id,
        changes.batch_id,
        changes.from_date,
        last_value(product_versions.unit_cost ignore nulls) over up_to_here as product_cost,
        last_value(term_versions.batch_id ignore nulls) over up_to_here as terms_batch_id
    from changes
    left join product_versions on changes.sku = product_versions.sku and changes.batch_id = product_versions.batch_id
    left join term_versions
        on
            changes.sku = term_versions.sku
            and changes.location_id = term_versions.location_id
            and changes.batch_id = term_versions.batch_id
    window up_to_here as (partition by changes.sku, changes.location_id order by changes.batch_id)
),

-- The first cost that is known holds for the days before it too.
dated as (
    select
        in_force.sku,
        in_force.location_id,
        in_force.batch_id,
        coalesce(term_versions.unit_cost, in_force.product_cost) as unit_cost,
        term_versions.supplier_id,
        case
            when row_number() over (partition by in_force.sku, in_force.location_id order by in_force.batch_id) > 1
                then in_force.from_date
        end as from_date
    from in_force
    left join term_versions
        on
            in_force.sku = term_versions.sku
            and in_force.location_id = term_versions.location_id
            and in_force.terms_batch_id = term_versions.batch_id
),

last_of_day as (
    select
        *,
        row_number() over (partition by sku, location_id, from_date order by batch_id desc) as place
    from dated
),

compared as (
    select
        *,
        lag(unit_cost) over (partition by sku, location_id order by batch_id) as cost_before,
        lag(supplier_id) over (partition by sku, location_id order by batch_id) as supplier_before
    from last_of_day
    where place = 1
),

changed as (
    select *
    from compared
    where from_date is null or unit_cost <> cost_before or supplier_id is distinct from supplier_before
),

unit_costs as (
    select
        sku,
        location_id,
        from_date,
        {{ add_days('lead(from_date) over (partition by sku, location_id order by batch_id)', -1) }} as to_date,
        unit_cost,
        supplier_id,
        case when supplier_id is null then 'product' else 'supplier_terms' end as cost_source
    from changed
)

select * from unit_costs
