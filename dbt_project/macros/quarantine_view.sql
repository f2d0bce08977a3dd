{# Quarantined rows that nobody has settled: what was released or discarded stands in the manifest of a later batch. #}
{% macro quarantine_view(folder, tables, until) %}
    {% set view %}
        create or replace view raw.quarantined_rows as
        {% for table in tables %}
        select
            '{{ table.name }}' as table_name, batch_id, ingested_at, source_file, source_row, original_text, rule, reason
        from read_parquet(
            '{{ folder }}/{{ table.name }}/{{ table.batches }}/quarantined.parquet',
            union_by_name = true,
            hive_partitioning = false
        )
        where {{ "batch_id <= '" ~ until ~ "'" if until else 'true' }}
        {% set manifests = folder ~ '/' ~ table.name ~ '/*/manifest.json' %}
        {% if matching_files(manifests) %}
            and (batch_id, source_file, source_row) not in (
                select (settlement.batch_id, settlement.source_file, settlement.source_row)
                from (
                    {# As text: read_json sets aside memory for the largest object it may meet, once for every thread. #}
                    select unnest(from_json(
                        content -> 'settled',
                        '[{"batch_id": "varchar", "source_file": "varchar", "source_row": "integer"}]'
                    )) as settlement
                    from read_text('{{ manifests }}')
                    {% if until %}where content ->> 'batch_id' <= '{{ until }}'{% endif %}
                )
            )
        {% endif %}
        {{ 'union all' if not loop.last }}
        {% else %}
        select
            cast(null as varchar) as table_name, cast(null as varchar) as batch_id, cast(null as timestamptz) as ingested_at,
            cast(null as varchar) as source_file, cast(null as integer) as source_row, cast(null as varchar) as original_text,
            cast(null as varchar) as rule, cast(null as varchar) as reason
        where false
        {% endfor %}
    {% endset %}
    {{ return(view) }}
{% endmacro %}
