with term_versions as (
    select * from {{ ref('stg_supplier_term_versions') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

versions as (
    select term_versions.*
    from term_versions
    inner join suppliers on term_versions.supplier_id = suppliers.supplier_id
),

closed as (
    select
        *,
        lead(batch_id) over (partition by sku, location_id, supplier_id order by batch_id) as next_batch_id
    from versions
),

changes as (
    select distinct sku, location_id, batch_id from versions
),

in_force as (
    select
        changes.sku,
        changes.location_id,
        changes.batch_id,
        closed.supplier_id,
        closed.unit_cost,
        row_number() over (
            partition by changes.sku, changes.location_id, changes.batch_id
            order by closed.priority, closed.unit_cost, closed.supplier_id
        ) as choice
    from changes
    inner join closed
        on
            changes.sku = closed.sku
            and changes.location_id = closed.location_id
            and closed.batch_id <= changes.batch_id
            and (closed.next_batch_id is null or changes.batch_id < closed.next_batch_id)
),

preferred as (
    select sku, location_id, batch_id, supplier_id, unit_cost
    from in_force
    where choice = 1
)

select * from preferred
