{# Days back from as_of whose demand makes the scale of an item: a year, so that every season is in it. #}
{% set days_of_scale = 365 %}
{% set levels = ['10', '50', '90'] %}

with published_forecasts as (
    select * from {{ ref('fct_published_forecasts') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

days as (
    select sku, location_id, day, demand_units, is_in_stock and is_open as is_observed
    from daily_demand
),

observed_days as (
    select sku, location_id, day, demand_units
    from days
    where is_observed
),

-- The simple forecast: the demand of the same weekday of the last week that was known.
judged as (
    select
        published_forecasts.*,
        days.is_observed,
        days.demand_units as actual_units,
        abs(published_forecasts.mean_units - days.demand_units) as absolute_error_units,
        abs(weekdays.demand_units - days.demand_units) as naive_absolute_error_units
    from published_forecasts
    inner join days
        on
            published_forecasts.sku = days.sku
            and published_forecasts.location_id = days.location_id
            and published_forecasts.day = days.day
    left join observed_days as weekdays
        on
            published_forecasts.sku = weekdays.sku
            and published_forecasts.location_id = weekdays.location_id
            and weekdays.day = {{ add_days('published_forecasts.day', '-7 * cast(ceil(published_forecasts.periods_ahead / 7.0) as integer)') }}
),

scored as (
    select
        *,
        {% for level in levels %}
        greatest(0.{{ level }} * (actual_units - q{{ level }}_units), (0.{{ level }} - 1) * (actual_units - q{{ level }}_units)) {{ '+' if not loop.last }}
        {% endfor %}
            as quantile_losses_units
    from judged
),

errors as (
    select
        sku,
        location_id,
        periods_ahead,
        model_version,
        count(case when is_observed then 1 end) as days_judged,
        count(case when not is_observed then 1 end) as censored_days,
        sum(case when is_observed then actual_units else 0 end) as actual_units,
        sum(case when is_observed then mean_units else 0 end) as forecast_units,
        sum(case when is_observed then absolute_error_units else 0 end) as absolute_error_units,
        count(case when is_observed then naive_absolute_error_units end) as naive_days,
        sum(case when is_observed and naive_absolute_error_units is not null then absolute_error_units else 0 end)
            as compared_absolute_error_units,
        sum(case when is_observed then coalesce(naive_absolute_error_units, 0) else 0 end) as naive_absolute_error_units,
        sum(case when is_observed then quantile_losses_units else 0 end) / {{ levels | length }} as quantile_loss_units,
        count(case when is_observed and actual_units between q10_units and q90_units then 1 end) as days_within_80
    from scored
    group by sku, location_id, periods_ahead, model_version
),

judged_items as (
    select distinct sku, location_id from errors
),

scales as (
    select
        days.sku,
        days.location_id,
        sum(abs(days.demand_units - week_before.demand_units)) / count(*) as scale_units
    from observed_days as days
    inner join judged_items on days.sku = judged_items.sku and days.location_id = judged_items.location_id
    inner join observed_days as week_before
        on
            days.sku = week_before.sku
            and days.location_id = week_before.location_id
            and week_before.day = {{ add_days('days.day', -7) }}
    cross join as_of
    where days.day > {{ add_days('as_of.as_of_date', -days_of_scale) }}
    group by days.sku, days.location_id
),

accuracy as (
    select
        errors.sku,
        errors.location_id,
        errors.periods_ahead,
        errors.model_version,
        cast(errors.days_judged as integer) as days_judged,
        cast(errors.censored_days as integer) as censored_days,
        cast(errors.actual_units as decimal(18, 3)) as actual_units,
        cast(errors.forecast_units as decimal(18, 6)) as forecast_units,
        cast(errors.forecast_units - errors.actual_units as decimal(18, 6)) as error_units,
        cast(errors.absolute_error_units as decimal(18, 6)) as absolute_error_units,
        cast(errors.quantile_loss_units as decimal(18, 6)) as quantile_loss_units,
        cast(errors.days_within_80 as integer) as days_within_80,
        cast(errors.naive_days as integer) as naive_days,
        cast(errors.compared_absolute_error_units as decimal(18, 6)) as compared_absolute_error_units,
        cast(errors.naive_absolute_error_units as decimal(18, 3)) as naive_absolute_error_units,
        cast(round(scales.scale_units, 6) as decimal(18, 6)) as scale_units,
        cast(
            round(errors.absolute_error_units / nullif(errors.days_judged, 0) / nullif(scales.scale_units, 0), 6) as double
        ) as mase
    from errors
    left join scales on errors.sku = scales.sku and errors.location_id = scales.location_id
)

select * from accuracy
