{#
    A location has lost its sales, or rests, rather than sold nothing by chance, where its silence is this unlikely at its own
    pace: one in a hundred thousand (11.5 = -ln 0.00001). A silence shorter than five open days is none: a long weekend is not,
    however long the history.
#}
{% set least_surprise = 11.5 %}
{% set least_silent_days = 5 %}
{# It rests where a count lacks less than this share of what would have been sold. #}
{% set most_lacking = 0.25 %}
{#
    Without a count it rests where it paused about as long twice before, or once in the same season of the year before: a pause
    of at least this share of the length, that began so many days before.
#}
{% set alike = 0.7 %}
{% set habit = 2 %}
{% set season_from, season_until = 300, 430 %}

{{ config(materialized='table') }}

with open_days as (
    select * from {{ ref('int_location_open_days') }}
),

counted_pauses as (
    select * from {{ ref('int_counted_pauses') }}
),

-- A shelf that is empty is silent by itself: of what a location sells, only what it had counts.
stocked as (
    select
        daily_balances.location_id,
        daily_balances.day,
        sum(case when daily_balances.is_stocked_out then 0 else sellers.days_with_demand end) / sum(sellers.days_with_demand)
            as share
    from {{ ref('int_daily_balances') }} as daily_balances
    inner join (
        select sku, location_id, count(*) as days_with_demand
        from {{ ref('int_daily_balances') }}
        where demand_units > 0
        group by sku, location_id
    ) as sellers
        on daily_balances.sku = sellers.sku and daily_balances.location_id = sellers.location_id
    group by daily_balances.location_id, daily_balances.day
),

pauses as (
    select
        open_days.location_id,
        open_days.last_sale_day,
        open_days.from_day,
        open_days.until_day,
        open_days.end_day,
        open_days.silent_days,
        counted_pauses.lacking_share,
        sum(open_days.surprise * coalesce(stocked.share, 0)) as surprise
    from open_days
    left join stocked on open_days.location_id = stocked.location_id and open_days.day = stocked.day
    left join counted_pauses on open_days.location_id = counted_pauses.location_id and open_days.from_day = counted_pauses.from_day
    where open_days.silent_days > 0
    group by
        open_days.location_id, open_days.last_sale_day, open_days.from_day, open_days.until_day, open_days.end_day,
        open_days.silent_days, counted_pauses.lacking_share
),

unlikely as (
    select * from pauses
    where silent_days >= {{ least_silent_days }} and surprise >= {{ least_surprise }}
),

-- A pause in which goods went without a record was no rest.
earlier_pauses as (
    select
        unlikely.location_id,
        unlikely.from_day,
        earlier.from_day as earlier_from_day,
        earlier.end_day,
        earlier.silent_days,
        earlier.silent_days >= {{ alike }} * unlikely.silent_days and coalesce(earlier.lacking_share < {{ most_lacking }}, true)
            as is_alike,
        {{ days_between('earlier.from_day', 'unlikely.from_day') }} between {{ season_from }} and {{ season_until }} as is_same_season,
        row_number() over (
            partition by unlikely.location_id, unlikely.from_day order by earlier.silent_days desc, earlier.from_day desc
        ) as length_rank
    from unlikely
    inner join pauses as earlier on unlikely.location_id = earlier.location_id and unlikely.from_day > earlier.until_day
),

habits as (
    select
        location_id,
        from_day,
        max(case when length_rank = 1 then silent_days end) as longest_before_days,
        max(case when length_rank = 1 then earlier_from_day end) as longest_before_day,
        count(case when is_alike then 1 end) as times_alike,
        max(case when is_alike then {{ days_between('earlier_from_day', 'end_day') }} end) as days_alike,
        max(case when is_alike and is_same_season then end_day end) as back_last_year_day
    from earlier_pauses
    group by location_id, from_day
),

-- With hindsight the first of two winters was one too.
repeated as (
    select distinct location_id, earlier_from_day as from_day
    from earlier_pauses
    where is_alike and is_same_season
),

judged as (
    select
        unlikely.*,
        habits.longest_before_days,
        habits.longest_before_day,
        case
            when unlikely.lacking_share >= {{ most_lacking }} then 'missing'
            when unlikely.lacking_share < {{ most_lacking }} then 'counted'
            when habits.back_last_year_day is not null or repeated.from_day is not null then 'season'
            when habits.times_alike >= {{ habit }} then 'habit'
            else 'missing'
        end as cause,
        -- The same weekday of the year after.
        case
            when habits.back_last_year_day is not null then {{ add_days('habits.back_last_year_day', days_to_year_before()) }}
            when habits.times_alike >= {{ habit }} then {{ add_days('unlikely.from_day', 'habits.days_alike') }}
        end as back_day
    from unlikely
    left join habits on unlikely.location_id = habits.location_id and unlikely.from_day = habits.from_day
    left join repeated on unlikely.location_id = repeated.location_id and unlikely.from_day = repeated.from_day
),

silences as (
    select
        location_id,
        last_sale_day,
        from_day,
        case
            when cause = 'missing' or end_day is not null then until_day
            when back_day is not null then greatest(until_day, {{ add_days('back_day', -1) }})
        end as until_day,
        silent_days,
        end_day is null as is_ongoing,
        cause,
        cause = 'missing' as is_missing,
        lacking_share,
        longest_before_days,
        longest_before_day
    from judged
)

select * from silences
