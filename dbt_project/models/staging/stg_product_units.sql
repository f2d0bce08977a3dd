{{ config(materialized='view') }}

with products as (
    select * from {{ source('raw', 'products') }}
    where not coalesce(is_ended, false)
),

ended as (
    select * from {{ source('raw', 'products') }}
    where is_ended
),

placed as (
    select
        *,
        row_number() over (partition by sku order by batch_id, source_row) = 1 or previous_units_per_unit = 1 as names_the_unit
    from products
),

-- The unit of the first version holds until a version says that it is called otherwise. How a unit converts is said once.
named as (
    select
        *,
        last_value(case when names_the_unit then 1 else previous_units_per_unit end ignore nulls) over (
            partition by sku, lower(trim(unit_of_measure)) order by batch_id, source_row
            rows between unbounded preceding and current row
        ) as kept_units_per_unit,
        last_value(case when names_the_unit then unit_of_measure end ignore nulls) over (
            partition by sku order by batch_id, source_row rows between unbounded preceding and current row
        ) as kept_unit
    from placed
),

compared as (
    select
        * exclude (names_the_unit),
        lower(trim(unit_of_measure)) <> lower(trim(kept_unit)) as is_changed
    from named
),

converted as (
    select
        * exclude (kept_units_per_unit) replace (
            case when is_changed then kept_unit else unit_of_measure end as unit_of_measure,
            cast(unit_cost / case when is_changed then coalesce(kept_units_per_unit, 1) else 1 end as decimal(18, 4)) as unit_cost,
            cast(unit_price / case when is_changed then coalesce(kept_units_per_unit, 1) else 1 end as decimal(18, 4)) as unit_price,
            cast(case_pack_units * case when is_changed then coalesce(kept_units_per_unit, 1) else 1 end as decimal(18, 3))
                as case_pack_units
        ),
        unit_of_measure as delivered_unit,
        unit_cost as delivered_unit_cost,
        is_changed and kept_units_per_unit is null as is_refused
    from compared
),

accepted as (
    select * from converted
    where not is_refused
),

-- What ended is shown as it last counted: a version that waits does not come into force by the end.
with_ends as (
    select * from converted
    union all by name
    select
        accepted.* replace (
            ended.batch_id as batch_id, ended.ingested_at as ingested_at, ended.source_file as source_file,
            ended.source_row as source_row, true as is_ended
        )
    from ended
    asof inner join accepted on ended.sku = accepted.sku and ended.batch_id > accepted.batch_id
)

select * from with_ends
