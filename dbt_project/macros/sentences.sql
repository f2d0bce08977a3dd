{#
    How sentences write what differs between the engines: whole numbers in groups of three and dates in words.
#}

{# A whole number as in 77,759. #}
{% macro whole_number_text(units) -%}
    {{ return(adapter.dispatch('whole_number_text')(units)) }}
{%- endmacro %}

{% macro duckdb__whole_number_text(units) -%}
    format('{:,}', cast(round({{ units }}) as bigint))
{%- endmacro %}


{# A date as in 24 December 2011. #}
{% macro day_text(day) -%}
    {{ return(adapter.dispatch('day_text')(day)) }}
{%- endmacro %}

{% macro duckdb__day_text(day) -%}
    strftime({{ day }}, '%-d %B %Y')
{%- endmacro %}


{# Monday of the week of a date. #}
{% macro week_start(day) -%}
    {{ return(adapter.dispatch('week_start')(day)) }}
{%- endmacro %}

{% macro duckdb__week_start(day) -%}
    cast(date_trunc('week', {{ day }}) as date)
{%- endmacro %}


{# A probability as people read it; none of a simulation is impossible. #}
{% macro chance_text(probability) -%}
    case
        when {{ probability }} < 0.005 then 'less than 1 %'
        else concat({{ whole_number_text('100 * ' ~ probability) }}, ' %')
    end
{%- endmacro %}
