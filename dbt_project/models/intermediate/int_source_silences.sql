{#
    One of several sources of a location, such as a till, is silent by the rule of int_location_silences, on the days on which the
    location sold: after five days, where so many are unlikely for a source that sold on most of them, and not a habit. Four weeks
    later, or where another source began as it stopped, it was taken out of use.
#}
{% set least_days_with_sales, least_silent_days, most_silent_days = 14, 5, 28 %}
{% set least_surprise, least_share, alike, habit, days_to_replace = 11.5, 0.5, 0.7, 2, 7 %}

{{ config(materialized='table') }}

with sale_days as (
    select distinct movements.location_id, movements.source, movements.day
    from {{ ref('int_folded_movements') }} as movements
    inner join {{ ref('int_location_clocks') }} as clocks
        on movements.location_id = clocks.location_id and movements.day <= clocks.as_of_date
    where movements.movement_type = 'sale'
),

numbered as (
    select *, dense_rank() over (partition by location_id order by day) as day_number
    from sale_days
),

pauses as (
    select
        *,
        coalesce(
            lead(day_number) over (partition by location_id, source order by day),
            max(day_number) over (partition by location_id) + 1
        ) - day_number - 1 as silent_days,
        row_number() over (partition by location_id, source order by day desc) as latest
    from numbered
),

histories as (
    select
        location_id,
        source,
        min(day) as first_sale_day,
        max(case when latest = 1 then day end) as last_sale_day,
        max(case when latest = 1 then silent_days end) as silent_days,
        coalesce(max(case when latest > 1 then silent_days end), 0) as longest_before_days,
        count(*) as days_with_sales,
        count(*) / (max(day_number) - min(day_number) + 2) as share
    from pauses
    group by location_id, source
),

silences as (
    select histories.*
    from histories
    where
        days_with_sales >= {{ least_days_with_sales }}
        and share >= {{ least_share }}
        and silent_days between {{ least_silent_days }} and {{ most_silent_days }}
        and -ln(1 - share) * silent_days >= {{ least_surprise }}
        and not exists (
            select 1 from histories as successors
            where
                successors.location_id = histories.location_id
                and abs({{ days_between('histories.last_sale_day', 'successors.first_sale_day') }}) <= {{ days_to_replace }}
        )
        and (
            select count(*) from pauses
            where
                pauses.location_id = histories.location_id
                and pauses.source = histories.source
                and pauses.latest > 1
                and pauses.silent_days >= {{ alike }} * histories.silent_days
        ) < {{ habit }}
)

select * exclude (first_sale_day, days_with_sales, share) from silences
