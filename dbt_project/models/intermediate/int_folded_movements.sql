{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=["{{ forget_days_to_rebuild() }}", "{{ forget_changed_movements() }}"]
    )
}}

{% set stock_order %}
            partition by sku, location_id
            {{ fold_order() }}
{% endset %}
{% set up_to_here = stock_order ~ "rows between unbounded preceding and current row" %}
{% set before_here = stock_order ~ "rows between unbounded preceding and 1 preceding" %}

{% set movement_columns = 'sku, location_id, source, document, line, revision, occurred_at, movement_type, quantity_units, lot_id' %}

with recursive effective_movements as (
    select * from {{ ref('int_effective_movements') }}
),

{% if is_incremental() %}
kept as (
    select sku, location_id, max(occurred_at) as kept_until, sum(change_units) as opening_units
    from {{ this }}
    group by sku, location_id
),

to_append as (
    select effective_movements.*, coalesce(kept.opening_units, 0) as opening_units
    from effective_movements
    inner join batches_to_append on effective_movements.batch_id = batches_to_append.batch_id
    left join kept
        on effective_movements.sku = kept.sku and effective_movements.location_id = kept.location_id
    where kept.kept_until is null or effective_movements.occurred_at > kept.kept_until
),
{% else %}
to_append as (
    select *, 0 as opening_units from effective_movements
),
{% endif %}

-- Converting an instant to a zone costs 2 µs, and far fewer quarters of an hour occur than movements.
-- No zone has moved its clocks off the quarter since Newfoundland stopped in 2011.
quarter_hours as (
    select distinct time_zone, {{ quarter_hour('occurred_at') }} as quarter_hour
    from to_append
),

quarter_hour_days as (
    select time_zone, quarter_hour, {{ local_day(start_of_quarter_hour('quarter_hour'), 'time_zone') }} as day
    from quarter_hours
),

dated as (
    select to_append.*, quarter_hour_days.day
    from to_append
    inner join quarter_hour_days
        on
            to_append.time_zone = quarter_hour_days.time_zone
            and {{ quarter_hour('to_append.occurred_at') }} = quarter_hour_days.quarter_hour
),

{{ counted_units(movement_columns) }},

-- The fold: movements add up in the order of time, and a count says how far that sum is from the stock.
summed as (
    select
        *,
        sum(case when movement_type = 'count' then 0 else quantity_units end) over ({{ up_to_here }}) as moved_units
    from dated
),

-- The identity alone: with a condition on the movement besides, the join compares every row with every count.
corrected as (
    select summed.*, counted_units.counted_units - summed.moved_units as apart_units
    from summed
    left join counted_units
        on
            summed.source = counted_units.source
            and summed.document = counted_units.document
            and summed.line = counted_units.line
),

counted as (
    select
        *,
        last_value(apart_units ignore nulls) over ({{ up_to_here }}) as counted_apart_units,
        last_value(apart_units ignore nulls) over ({{ before_here }}) as counted_apart_before_units
    from corrected
),

movements as (
    select
        source,
        document,
        line,
        revision,
        occurred_at,
        recorded_at,
        ingested_at,
        day,
        sku,
        location_id,
        movement_type,
        quantity_units,
        cast(
            case
                when movement_type = 'count' then apart_units - coalesce(counted_apart_before_units, opening_units)
                else quantity_units
            end as decimal(18, 3)
        ) as change_units,
        cast(moved_units + coalesce(counted_apart_units, opening_units) as decimal(18, 3)) as on_hand_after_units,
        unit_price,
        lot_id,
        reference,
        reason,
        content_fingerprint
    from counted
)

select * from movements
