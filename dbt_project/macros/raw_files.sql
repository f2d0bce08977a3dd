{# The files of the home that the views of raw_views.sql show: which there are, and what was taken back of them. #}

{# A path as it stands within the quotes of a text that DuckDB takes for a pattern of names. #}
{% macro path_text(path) %}
    {{ return(path | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]') | replace("'", "''")) }}
{% endmacro %}


{% macro matching_files(pattern) %}
    {{ return(run_query("select file from glob('" ~ pattern ~ "') order by file").columns[0].values() | list) }}
{% endmacro %}


{# The highest batch_id that var ingested_until lets through, or none. A batch_id is the instant of arrival as text that sorts. #}
{% macro latest_batch_allowed() %}
    {% if var('ingested_until', none) is none %}
        {{ return(none) }}
    {% endif %}
    {% set query %}
        select strftime(timezone('UTC', cast('{{ var("ingested_until") }}' as timestamptz)), '%Y%m%dT%H%M%S.%fZ')
    {% endset %}
    {{ return(run_query(query).columns[0].values()[0]) }}
{% endmacro %}


{# Ids of the arrival batches of a table that have a file of this kind, up to the allowed one. #}
{% macro arrived_batches(folder, table_name, kind, until) %}
    {% set batches = [] %}
    {% if folder %}
        {% for file in matching_files(folder ~ '/' ~ table_name ~ '/*/' ~ kind ~ '.parquet') %}
            {% set batch_id = file.replace('\\', '/').split('/')[-2] %}
            {% if until is none or batch_id <= until %}
                {% do batches.append(batch_id) %}
            {% endif %}
        {% endfor %}
    {% endif %}
    {{ return(batches) }}
{% endmacro %}


{# Accepted rows that somebody took back while they waited, as SQL: the manifests of later batches name them, up to the allowed one. #}
{% macro withdrawn_rows(folder, table_name, until) %}
    {% set manifests = folder ~ '/' ~ table_name ~ '/*/manifest.json' %}
    {% if not folder or not matching_files(manifests) %}
        {{ return([]) }}
    {% endif %}
    {% set query %}
        select format('(''{}'', ''{}'', {})', settlement.batch_id, replace(settlement.source_file, '''', ''''''), settlement.source_row)
        from (
            select unnest(from_json(
                content -> 'settled',
                '[{"batch_id": "varchar", "source_file": "varchar", "source_row": "integer", "how": "varchar"}]'
            )) as settlement
            from read_text('{{ manifests }}')
            where contains(content, '"withdrawn"') {% if until %}and (content ->> 'batch_id') <= '{{ until }}'{% endif %}
        )
        where settlement.how = 'withdrawn'
        order by 1
    {% endset %}
    {{ return(run_query(query).columns[0].values() | list) }}
{% endmacro %}
