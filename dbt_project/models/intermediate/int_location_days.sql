{# Days ahead that are planned at least: eight weeks. #}
{% set least_days_ahead = 56 %}

{{ config(materialized='table') }}

with folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

location_events as (
    select * from {{ ref('int_location_events') }}
),

supplier_terms as (
    select * from {{ ref('stg_supplier_terms') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

silences as (
    select * from {{ ref('int_location_silences') }}
),

first_days as (
    select location_id, min(day) as first_day
    from folded_movements
    group by location_id
),

-- Suppliers may take twice the time agreed, and the review period comes on top.
longest_wait as (
    select
        greatest(
            {{ least_days_ahead }},
            coalesce(2 * cast(ceil(max(supplier_terms.lead_time_days)) as integer) + max(suppliers.review_period_days), 0)
        ) as days_ahead
    from supplier_terms
    inner join suppliers on supplier_terms.supplier_id = suppliers.supplier_id
),

spans as (
    select
        clocks.location_id,
        clocks.as_of_date,
        least(first_days.first_day, clocks.as_of_date) as first_day,
        {{ add_days('clocks.as_of_date', 'longest_wait.days_ahead') }} as last_day
    from clocks
    cross join longest_wait
    left join first_days on clocks.location_id = first_days.location_id
),

location_days as (
    select location_id, as_of_date, {{ each_day('first_day', 'last_day') }} as day
    from spans
),

event_days as (
    select
        location_id,
        day,
        {{ dbt.listagg('event_name', "', '", 'order by event_name') }} as event_name,
        max(case when event_type = 'closed' then 1 else 0 end) = 1 as is_closed
    from location_events
    group by location_id, day
),

described as (
    select
        location_days.location_id,
        location_days.day,
        {{ days_between('location_days.as_of_date', 'location_days.day') }} as days_ahead,
        event_days.event_name,
        not coalesce(event_days.is_closed, false) and coalesce(silences.is_missing, true) as is_open,
        not coalesce(silences.is_missing, false) as is_observed
    from location_days
    left join event_days
        on location_days.location_id = event_days.location_id and location_days.day = event_days.day
    left join silences
        on
            location_days.location_id = silences.location_id
            and location_days.day between silences.from_day and coalesce(silences.until_day, location_days.day)
)

select * from described
