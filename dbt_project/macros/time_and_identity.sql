{#
    What differs between the engines: time zones and row fingerprints.
#}

{# Local calendar day of an instant. #}
{% macro local_day(instant, time_zone) -%}
    {{ return(adapter.dispatch('local_day')(instant, time_zone)) }}
{%- endmacro %}

{% macro duckdb__local_day(instant, time_zone) -%}
    cast(timezone({{ time_zone }}, {{ instant }}) as date)
{%- endmacro %}


{# Instant at which a local calendar day begins. #}
{% macro start_of_local_day(day, time_zone) -%}
    {{ return(adapter.dispatch('start_of_local_day')(day, time_zone)) }}
{%- endmacro %}

{% macro duckdb__start_of_local_day(day, time_zone) -%}
    timezone({{ time_zone }}, cast({{ day }} as timestamp))
{%- endmacro %}


{# Instant at which a business day ends: at that local time, or with the last microsecond of the day where none or midnight is given. #}
{% macro end_of_business_day(day, day_ends_at, time_zone) -%}
    case
        when {{ day_ends_at }} is null or {{ day_ends_at }} in ('24:00', '00:00')
            then {{ start_of_local_day(add_days(day, 1), time_zone) }} - interval 1 microsecond
        else {{ start_of_local_day("concat(" ~ day ~ ", ' ', " ~ day_ends_at ~ ")", time_zone) }}
    end
{%- endmacro %}


{# Whether an instant can be right: within what vars counts_from and counts_until let through, each of which may be absent. #}
{% macro can_be_right(instant) -%}
    (
        true
        {%- if var('counts_from', none) is not none %} and {{ instant }} >= cast('{{ var("counts_from") }}' as timestamp with time zone){% endif %}
        {%- if var('counts_until', none) is not none %} and {{ instant }} < cast('{{ var("counts_until") }}' as timestamp with time zone){% endif %}
    )
{%- endmacro %}


{# Number of the quarter of an hour an instant falls in, counted from 1970 in UTC. #}
{% macro quarter_hour(instant) -%}
    {{ return(adapter.dispatch('quarter_hour')(instant)) }}
{%- endmacro %}

{% macro duckdb__quarter_hour(instant) -%}
    epoch_us({{ instant }}) // 900000000
{%- endmacro %}

{# Instant at which a quarter of an hour begins. #}
{% macro start_of_quarter_hour(quarter_hour) -%}
    {{ return(adapter.dispatch('start_of_quarter_hour')(quarter_hour)) }}
{%- endmacro %}

{% macro duckdb__start_of_quarter_hour(quarter_hour) -%}
    make_timestamptz({{ quarter_hour }} * 900000000)
{%- endmacro %}


{# Fingerprint of the values of a row, a bigint so small that two add up. Those of a set of rows are compared by their sum. #}
{% macro fingerprint(columns) -%}
    {{ return(adapter.dispatch('fingerprint')(columns)) }}
{%- endmacro %}

{% macro duckdb__fingerprint(columns) -%}
    cast(hash({{ columns | join(', ') }}) // 4 as bigint)
{%- endmacro %}


{# Whole days from one date to another. #}
{% macro days_between(from_day, to_day) -%}
    {{ dbt.datediff(from_day, to_day, 'day') }}
{%- endmacro %}


{# English name of the weekday of a date. #}
{% macro weekday_name(day) -%}
    {{ return(adapter.dispatch('weekday_name')(day)) }}
{%- endmacro %}

{% macro duckdb__weekday_name(day) -%}
    dayname({{ day }})
{%- endmacro %}


{# In a select list: a row for each day from one to the other, both included. #}
{% macro each_day(from_day, to_day) -%}
    {{ return(adapter.dispatch('each_day')(from_day, to_day)) }}
{%- endmacro %}

{% macro duckdb__each_day(from_day, to_day) -%}
    cast(unnest(generate_series({{ from_day }}, {{ to_day }}, interval 1 day)) as date)
{%- endmacro %}


{# A date so many days later; earlier where the number is negative. #}
{% macro add_days(day, number_of_days) -%}
    cast({{ dbt.dateadd('day', number_of_days, day) }} as date)
{%- endmacro %}


{# Days back to the same week of the year before: weekdays fall on weekdays. #}
{% macro days_to_year_before() %}
    {{ return(364) }}
{% endmacro %}
