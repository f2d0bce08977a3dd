with term_versions as (
    select * from {{ ref('stg_supplier_term_versions') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

locations as (
    select * from {{ ref('stg_locations') }}
),

batch_days as (
    select * from {{ ref('int_batch_days') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

versions as (
    select
        term_versions.*,
        batch_days.from_date,
        least(
            term_versions.valid_to, {{ add_days('suppliers.ended_date', -1) }}, {{ add_days('locations.ended_date', -1) }}
        ) as last_day,
        lead(term_versions.batch_id) over (
            partition by term_versions.sku, term_versions.location_id, term_versions.supplier_id order by term_versions.batch_id
        ) as next_batch_id
    from term_versions
    inner join suppliers on term_versions.supplier_id = suppliers.supplier_id
    inner join locations on term_versions.location_id = locations.location_id
    left join batch_days on term_versions.batch_id = batch_days.batch_id
),

batches as (
    select distinct sku, location_id, batch_id, from_date from versions
),

-- The last day of terms changes the choice between two arrivals: its place is after the arrivals that count by then.
last_days as (
    select
        versions.sku,
        versions.location_id,
        concat(max(batches.batch_id), '~', {{ add_days('versions.last_day', 1) }}) as batch_id,
        greatest({{ add_days('versions.last_day', 1) }}, max(batches.from_date)) as from_date
    from versions
    cross join as_of
    inner join batches
        on
            versions.sku = batches.sku
            and versions.location_id = batches.location_id
            and versions.batch_id <= batches.batch_id
    where
        versions.last_day <= as_of.as_of_date
        and (
            versions.batch_id = batches.batch_id
            or coalesce(batches.from_date <= {{ add_days('versions.last_day', 1) }}, true)
        )
    group by versions.sku, versions.location_id, versions.last_day
),

changes as (
    select sku, location_id, batch_id, from_date from batches
    union
    select sku, location_id, batch_id, from_date from last_days
),

in_force as (
    select
        changes.sku,
        changes.location_id,
        changes.batch_id,
        versions.supplier_id,
        versions.unit_cost,
        row_number() over (
            partition by changes.sku, changes.location_id, changes.batch_id
            order by versions.priority, versions.unit_cost, versions.supplier_id
        ) as choice
    from changes
    inner join versions
        on
            changes.sku = versions.sku
            and changes.location_id = versions.location_id
            and versions.batch_id <= changes.batch_id
            and (versions.next_batch_id is null or changes.batch_id < versions.next_batch_id)
            and not versions.is_ended
            and coalesce(versions.last_day >= changes.from_date, true)
),

-- Where nothing is in force any more, the supplier is empty.
preferred as (
    select changes.sku, changes.location_id, changes.batch_id, changes.from_date, in_force.supplier_id, in_force.unit_cost
    from changes
    left join in_force
        on
            changes.sku = in_force.sku
            and changes.location_id = in_force.location_id
            and changes.batch_id = in_force.batch_id
            and in_force.choice = 1
)

select * from preferred
