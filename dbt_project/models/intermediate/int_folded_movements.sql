{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ forget_changed_movements() }}"
    )
}}

with effective_movements as (
    select * from {{ ref('int_effective_movements') }}
),

kept as (
    {% if is_incremental() %}
    select sku, location_id, max(occurred_at) as kept_until, sum(change_units) as opening_units
    from {{ this }}
    group by sku, location_id
    {% else %}
    select sku, location_id, occurred_at as kept_until, quantity_units as opening_units
    from effective_movements
    where false
    {% endif %}
),

to_append as (
    select effective_movements.*, coalesce(kept.opening_units, 0) as opening_units
    from effective_movements
    left join kept
        on effective_movements.sku = kept.sku and effective_movements.location_id = kept.location_id
    where kept.kept_until is null or effective_movements.occurred_at > kept.kept_until
),

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

-- The fold: movements add up in the order of time, and a count starts a new sum with the units counted.
since_counts as (
    select
        *,
        sum(case when movement_type = 'count' then 1 else 0 end) over (
            partition by sku, location_id
            order by occurred_at, case when movement_type = 'count' then 1 else 0 end, source, document, line, revision
            rows between unbounded preceding and current row
        ) as counts_so_far
    from dated
),

folded as (
    select
        *,
        sum(quantity_units) over (
            partition by sku, location_id, counts_so_far
            order by occurred_at, case when movement_type = 'count' then 1 else 0 end, source, document, line, revision
            rows between unbounded preceding and current row
        ) + case when counts_so_far = 0 then opening_units else 0 end as on_hand_after_units
    from since_counts
),

changes as (
    select
        *,
        on_hand_after_units - lag(on_hand_after_units, 1, opening_units) over (
            partition by sku, location_id
            order by occurred_at, case when movement_type = 'count' then 1 else 0 end, source, document, line, revision
        ) as change_units
    from folded
),

movements as (
    select
        movement_id,
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
        cast(change_units as decimal(18, 3)) as change_units,
        cast(on_hand_after_units as decimal(18, 3)) as on_hand_after_units,
        unit_price,
        lot_id,
        reference,
        reason,
        content_fingerprint
    from changes
)

select * from movements
