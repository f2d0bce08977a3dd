{{ config(materialized='table') }}

{#
    The business day is read off the movements in one place, before dbt begins (orchestration/ingest/business_day.py), because what dbt is
    to build depends on it.
#}
{% if var('as_of', none) is none and flags.WHICH in ('run', 'build') %}
    {{ exceptions.raise_compiler_error(
        "no business day is given: add --vars '{as_of: 2011-12-08}', or let `inventorybot run` read it off the movements"
    ) }}
{% endif %}

with as_of as (
    select cast({{ "'" ~ var('as_of') ~ "'" if var('as_of', none) is not none else 'null' }} as date) as as_of_date
)

select * from as_of
