{% set year = days_to_year_before() %}
{# Days of the year before that its pattern needs at least. #}
{% set least_days = 7 %}

with forecasts as (
    select * from {{ ref('fct_demand_forecasts') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

location_days as (
    select * from {{ ref('int_location_days') }}
),

past_by_scope as (
    select * from {{ ref('int_category_demand') }}
),

as_of as (
    select max(as_of_date) as as_of_date from forecasts
),

weeks as (
    select week_start, cast({{ add_days('week_start', -year) }} as date) as year_before
    from (
        select {{ week_start('day') }} as week_start, count(distinct day) as days
        from forecasts
        group by {{ week_start('day') }}
    ) as forecast_weeks
    where days = 7
),

-- Weeks and months differ in their closed days: rates of an open day of a location are compared.
open_days as (
    select day, sum(case when is_open and is_observed then 1 else 0 end) as open_count, max(days_ahead) as days_ahead
    from location_days
    group by day
),

history_bounds as (
    select min(day) as first_day from daily_demand
),

coming as (
    select item_locations.category, {{ week_start('forecasts.day') }} as week_start, sum(forecasts.mean_units) as units
    from forecasts
    inner join item_locations
        on forecasts.sku = item_locations.sku and forecasts.location_id = item_locations.location_id
    group by item_locations.category, {{ week_start('forecasts.day') }}
),

by_scope as (
    select category, week_start, units from coming
    union all
    select cast(null as varchar) as category, week_start, sum(units) from coming group by week_start
),

-- The four weeks up to the business day, this year and a year before, as far as the history reaches.
windows as (
    select
        sum(case when open_days.day > {{ add_days('as_of.as_of_date', -28) }} and open_days.days_ahead <= 0 then open_count end)
            as recent_open,
        sum(
            case
                when
                    open_days.day > {{ add_days('as_of.as_of_date', -28 - year) }}
                    and open_days.day <= {{ add_days('as_of.as_of_date', -year) }}
                    then open_count
            end
        ) as before_open,
        max(
            case when history_bounds.first_day <= {{ add_days('as_of.as_of_date', 1 - year - least_days) }} then 1 else 0 end
        ) = 1 as has_year
    from open_days
    cross join as_of
    cross join history_bounds
),

recent as (
    select
        past_by_scope.category,
        sum(case when past_by_scope.day > {{ add_days('as_of.as_of_date', -28) }} then past_by_scope.units end) as recent_units,
        sum(
            case
                when
                    past_by_scope.day > {{ add_days('as_of.as_of_date', -28 - year) }}
                    and past_by_scope.day <= {{ add_days('as_of.as_of_date', -year) }}
                    then past_by_scope.units
            end
        ) as before_units
    from past_by_scope
    cross join as_of
    group by past_by_scope.category
),

year_before as (
    select past_by_scope.category, weeks.week_start, sum(past_by_scope.units) as units
    from weeks
    inner join past_by_scope
        on past_by_scope.day >= weeks.year_before and past_by_scope.day < {{ add_days('weeks.year_before', 7) }}
    group by past_by_scope.category, weeks.week_start
),

week_open as (
    select
        weeks.week_start,
        sum(case when open_days.day >= weeks.week_start then open_count end) as coming_open,
        sum(case when open_days.day < weeks.week_start then open_count end) as before_open
    from weeks
    inner join open_days
        on
            open_days.day between weeks.week_start and {{ add_days('weeks.week_start', 6) }}
            or open_days.day between weeks.year_before and {{ add_days('weeks.year_before', 6) }}
    group by weeks.week_start
),

compared as (
    select
        as_of.as_of_date,
        by_scope.category,
        by_scope.week_start,
        by_scope.units as forecast_units,
        case when history_bounds.first_day <= weeks.year_before then coalesce(year_before.units, 0) end as last_year_units,
        coalesce(recent.recent_units, 0) / 4 as recent_units,
        coalesce(recent.recent_units, 0) / nullif(windows.recent_open, 0) * week_open.coming_open as recent_pace,
        week_open.coming_open / nullif(week_open.before_open, 0) as more_open,
        case when windows.has_year then recent.before_units / nullif(windows.before_open, 0) * week_open.coming_open end as before_pace,
        max(case when by_scope.category is null then by_scope.units end) over (partition by by_scope.week_start) as home_units
    from by_scope
    inner join weeks on by_scope.week_start = weeks.week_start
    inner join week_open on by_scope.week_start = week_open.week_start
    cross join windows
    cross join as_of
    cross join history_bounds
    left join recent on by_scope.category is not distinct from recent.category
    left join year_before
        on by_scope.category is not distinct from year_before.category and by_scope.week_start = year_before.week_start
)

select * from compared
