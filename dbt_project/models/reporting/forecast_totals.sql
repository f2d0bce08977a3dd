{#
    A total parts where the forecast is this many times what the recent weeks and last year's pattern lead to expect, or less
    than its inverse. Measured on 57 weeks of a retailer with a strong season, totals of eight weeks were 80 % too high and
    35 % too low where they failed, and off by 10 to 20 % in quiet weeks: 1.5 lies between.
#}
{% set factor = 1.5 %}
{# Without both ends of last year's move, season and growth cannot be separated. #}
{% set factor_without_move = 2.5 %}
{# Share of the home's total from which a category is judged: a single order moves what is smaller. #}
{% set least_share = 0.01 %}

with compared as (
    select * from {{ ref('int_forecast_weeks_compared') }}
),

judged as (
    select
        *,
        case
            when before_pace > 0 then recent_pace * last_year_units * more_open / before_pace
            when last_year_units > 0 then last_year_units * more_open
            else recent_pace
        end as usual_units,
        case when before_pace > 0 then {{ factor }} else {{ factor_without_move }} end as factor
    from compared
),

parting as (
    select
        *,
        greatest(forecast_units, usual_units) >= {{ least_share }} * home_units
        and (forecast_units > factor * usual_units or forecast_units * factor < usual_units) as is_parting
    from judged
),

worded as (
    select
        as_of_date,
        category,
        week_start,
        cast(forecast_units as decimal(18, 3)) as forecast_units,
        cast(last_year_units as decimal(18, 3)) as last_year_units,
        cast(recent_units as decimal(18, 3)) as recent_units,
        cast(usual_units as decimal(18, 3)) as usual_units,
        coalesce(is_parting, false) as is_parting,
        case
            when is_parting
                then concat(
                    'The forecast', case when category is not null then concat(' of ', category) else '' end, ' for the week from ',
                    {{ day_text('week_start') }}, ' is ', {{ whole_number_text('forecast_units') }}, ' units; ',
                    case
                        when last_year_units is null then 'there is no year before, the last four weeks sold '
                        else concat('the same week last year sold ', {{ whole_number_text('last_year_units') }}, ', the last four weeks ')
                    end,
                    {{ whole_number_text('recent_units') }}, ' a week',
                    case
                        when before_pace > 0
                            then concat(', for which last year''s pattern suggests ', {{ whole_number_text('usual_units') }})
                        else ''
                    end,
                    '.'
                )
        end as note
    from parting
)

select * from worded
