{#
    The latest version of each key of a raw table whose rows are versions: that of the latest arrival and, within it, of the
    last row. Key and columns are those that the input contract declares (models/staging/__raw.yml).
#}
{% macro latest_version(table) -%}
    {%- if not execute -%}
    {# While dbt parses, nothing is known of the contract; the reference to the source is all it looks for. #}
    {{- source('raw', table) -}}
    {%- else -%}
    {%- set declared = graph.sources.values() | selectattr('source_name', 'equalto', 'raw') | selectattr('name', 'equalto', table) | first -%}
    {%- set columns = declared.columns.keys() | list + ['batch_id', 'ingested_at', 'source_file', 'source_row'] -%}
    select
        {{ columns | join(',\n        ') }}
    from (
        select
            *,
            row_number() over (
                partition by {{ declared.config.meta.key | join(', ') }}
                order by batch_id desc, source_row desc
            ) as version_rank
        from {{ source('raw', table) }}
    ) as versions
    where version_rank = 1
    {%- endif -%}
{%- endmacro %}
