{{ config(materialized='table') }}

{# Days back from as_of in which use must recur: whole weeks. A use is regular in at least so many of them, and half of all. #}
{% set weeks_to_look = 12 %}
{% set least_weeks = 4 %}

with stock_movements as (
    select * from {{ ref('int_folded_movements') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

-- Weeks are counted back from as_of, so that each is complete. What is booked back in the week was not used.
weeks as (
    select
        stock_movements.sku,
        stock_movements.location_id,
        floor({{ days_between('stock_movements.day', 'as_of.as_of_date') }} / 7) as weeks_ago,
        -sum(stock_movements.change_units) as used_units
    from stock_movements
    cross join as_of
    where
        stock_movements.movement_type = 'adjustment'
        and stock_movements.day > {{ add_days('as_of.as_of_date', -7 * weeks_to_look) }}
        and stock_movements.day <= as_of.as_of_date
    group by
        stock_movements.sku,
        stock_movements.location_id,
        floor({{ days_between('stock_movements.day', 'as_of.as_of_date') }} / 7)
),

uses as (
    select
        weeks.sku,
        weeks.location_id,
        sum(weeks.used_units) as used_units,
        count(case when weeks.used_units > 0 then 1 end) as used_weeks,
        max(least(ceil(({{ days_between('spans.active_from', 'spans.last_day') }} + 1) / 7.0), {{ weeks_to_look }})) as seen_weeks
    from weeks
    inner join spans on weeks.sku = spans.sku and weeks.location_id = spans.location_id
    group by weeks.sku, weeks.location_id
),

regular as (
    select
        sku,
        location_id,
        cast(round(used_units / (7 * seen_weeks), 3) as decimal(18, 3)) as daily_units
    from uses
    where used_weeks >= {{ least_weeks }} and 2 * used_weeks >= seen_weeks and used_units > 0
)

select * from regular
