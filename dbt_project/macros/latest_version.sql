{#
    The latest version of each key of a raw table whose rows are versions: that of the latest arrival and, within it, of the
    last row. Key and columns are those that the input contract declares (models/staging/__raw.yml).

    A row ends by a full list that lacks it, or by its valid_to. What has ended is left out, or kept with the day from which it
    no longer holds where history still speaks of it (ended_date; null = it holds). `versions` stands for the raw table where some
    of its rows do not count, `key` for the declared one.
#}
{% macro latest_version(table, keep_ended=false, versions=none, key=none) -%}
    {%- if not execute -%}
    {# While dbt parses, nothing is known of the contract; the references to sources are all it looks for. #}
    {{- source('raw', table) -}} {{- source('predictions', 'generations') -}}
    {%- else -%}
    {%- set declared = graph.sources.values() | selectattr('source_name', 'equalto', 'raw') | selectattr('name', 'equalto', table) | first -%}
    {%- set columns = declared.columns.keys() | list + ['batch_id', 'ingested_at', 'source_file', 'source_row'] -%}
    {%- set ends = declared.config.meta.get('ends') -%}
    select
        {{ columns | join(',\n        ') }}
        {%- if keep_ended %},
        ended_date
        {%- endif %}
    from (
        select
            *,
            {{ ended_date(declared.columns.keys() | list) if ends else 'cast(null as date)' }} as ended_date
        from (
            select
                *,
                row_number() over (
                    partition by {{ key or (declared.config.meta.key | join(', ')) }}
                    order by batch_id desc, source_row desc
                ) as version_rank
            from {{ versions or source('raw', table) }}
        ) as versions
        where version_rank = 1
    ) as latest
    {%- if ends and not keep_ended %}
    where ended_date is null
    {%- endif %}
    {%- endif -%}
{%- endmacro %}


{#
    The day from which a row of a raw table no longer holds, null where it still does. What a list lacks ended with the business
    day whose run first published it; a run of the latest day counts every end that has come, a day that is looked back at those
    published by then. A valid_to is the last day on which something can be ordered, which is tomorrow at the earliest.
#}
{% macro ended_date(columns) -%}
    case
        when is_ended and {{ published_by_now('ingested_at') }} then {{ published_day('ingested_at') }}
        {%- if 'valid_to' in columns %}
        when valid_to <= cast('{{ var("as_of", "9999-12-31") }}' as date) then {{ add_days('valid_to', 1) }}
        {%- endif %}
    end
{%- endmacro %}


{# Whether the rows of a batch count for this run: those of a later business day do not for one that is looked back at. #}
{% macro published_by_now(ingested_at) -%}
    {{ published_day(ingested_at) }} <= cast('{{ var("as_of", "9999-12-31") }}' as date)
{%- endmacro %}


{#
    Business day from which the rows of a batch count: that of the run that first published them; of what no run has published
    yet, the day of this one, or the latest that was published. No clock is asked: data may be loaded long after its days.
#}
{% macro published_day(ingested_at) -%}
    coalesce(
        (
            select min(greatest(generations.business_date, coalesce(generations.data_until_date, generations.business_date)))
            from {{ source('predictions', 'generations') }} as generations
            where generations.ingested_until >= {{ ingested_at }}
        ),
        (
            select
                greatest(
                    cast('{{ var("as_of", "9999-12-31") }}' as date),
                    max(greatest(generations.business_date, coalesce(generations.data_until_date, generations.business_date)))
                )
            from {{ source('predictions', 'generations') }} as generations
        )
    )
{%- endmacro %}
