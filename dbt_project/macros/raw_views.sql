{#
    The raw tables and the predictions are Parquet files outside the warehouse. These macros, run before every invocation,
    show them as views: raw.<table>, raw.quarantined_rows and predictions.<table>. Where there is no file the view is
    typed and empty, so that a fresh clone compiles and a home without the optional tables builds.
#}

{% macro create_raw_views() %}
    {% if execute %}
        {% set folder = path_text(env_var('INVENTORYBOT_RAW', '')) %}
        {% set until = latest_batch_allowed() %}
        {% set statements = ['create schema if not exists raw'] %}
        {% set quarantined = [] %}
        {% set mapped = mapped_codes(folder) %}
        {% for table in source_tables('raw') if table.name != 'quarantined_rows' %}
            {% set batches = arrived_batches(folder, table.name, 'accepted', until) %}
            {% if batches and table.config.meta.get('arrival') == 'snapshot' %}
                {# The latest arrival is the whole table, also when it holds no row. #}
                {% set files = "'" ~ folder ~ "/" ~ table.name ~ "/" ~ (batches | max) ~ "/accepted.parquet'" %}
            {% elif batches %}
                {% set files = "'" ~ folder ~ "/" ~ table.name ~ "/*/accepted.parquet'" %}
                {% if arrived_batches(folder, table.name, 'ended', until) %}
                    {% set files = "[" ~ files ~ ", '" ~ folder ~ "/" ~ table.name ~ "/*/ended.parquet']" %}
                {% endif %}
            {% else %}
                {% set files = none %}
            {% endif %}
            {% set lineage = {
                'batch_id': 'varchar', 'ingested_at': 'timestamp with time zone', 'source_file': 'varchar', 'source_row': 'integer'
            } %}
            {# What ended by a list that lacks it stands beside what came, as it last was. #}
            {% do lineage.update({'is_ended': 'boolean'} if table.config.meta.get('ends') else {}) %}
            {# Codes that were mapped to one item add up where rows are parts of it. #}
            {% do lineage.update({'delivered_key': 'varchar'} if table.config.meta.get('adds_up') else {}) %}
            {% set withdrawn = withdrawn_rows(folder, table.name, until) if files else [] %}
            {% do statements.append(file_view('raw', table, files, lineage, until, withdrawn, mapped)) %}
            {% set refused = arrived_batches(folder, table.name, 'quarantined', until) %}
            {% if refused %}
                {# A later list replaces the one before, with what was wrong in it. #}
                {% set waiting = (refused | max) if table.config.meta.get('arrival') == 'snapshot' else '*' %}
                {% do quarantined.append({'name': table.name, 'batches': waiting}) %}
            {% endif %}
        {% endfor %}
        {% do statements.append(quarantine_view(folder, quarantined, until)) %}
        {{ return(statements | join(';\n')) }}
    {% endif %}
{% endmacro %}


{% macro create_prediction_views() %}
    {% if execute %}
        {% set folder = path_text(env_var('INVENTORYBOT_PREDICTIONS', '')) %}
        {% set statements = ['create schema if not exists predictions'] %}
        {% for table in source_tables('predictions') %}
            {% set path = folder ~ '/' ~ table.name ~ '.parquet' %}
            {% set files = "'" ~ path ~ "'" if folder and matching_files(path) else none %}
            {% do statements.append(file_view('predictions', table, files, {}, none)) %}
        {% endfor %}
        {{ return(statements | join(';\n')) }}
    {% endif %}
{% endmacro %}


{# Tables of a source, in the order of their names. #}
{% macro source_tables(source_name) %}
    {% set tables = [] %}
    {% for node in graph.sources.values() | sort(attribute='name') if node.source_name == source_name %}
        {% do tables.append(node) %}
    {% endfor %}
    {{ return(tables) }}
{% endmacro %}


{% macro file_view(schema, table, files, lineage, until, withdrawn=[], mapped=[]) %}
    {% set columns = {} %}
    {% for column in table.columns.values() %}
        {% do columns.update({column.name: column.data_type}) %}
    {% endfor %}
    {% do columns.update(lineage) %}
    {% set key = table.config.meta.get('key', []) %}
    {% set several = 'is_ended' in columns and (mapped | selectattr(0, 'in', key) | list) %}
    {% set view %}
        create or replace view {{ schema }}.{{ table.name }} as
        {{ 'with made as (' if several }}
        select
            {% for name, data_type in columns.items() %}
            {% if name == 'delivered_key' %}
            concat_ws('|', {{ key | join(', ') }}) as delivered_key
            {% else %}
            cast({{ mapped_column(name, mapped) }} as {{ data_type }}) as {{ adapter.quote(name) }}{{ ',' if not loop.last }}
            {% endif %}
            {% endfor %}
            {{ ', concat_ws(\'|\', ' ~ key | join(', ') ~ ') as delivered_key' if several }}
        from (
            {# No file at all, and files from before a column was introduced: what they lack is null. #}
            select
                {% for name, data_type in columns.items() %}
                cast(null as {{ data_type }}) as {{ adapter.quote(name) }}{{ ',' if not loop.last }}
                {% endfor %}
            where false
            {% if files %}
            union all by name
            select * from read_parquet({{ files }}, union_by_name = true, hive_partitioning = false)
            {% endif %}
        ) as made
        where {{ "batch_id <= '" ~ until ~ "'" if until else 'true' }}
        {% if withdrawn %}and (batch_id, source_file, source_row) not in ({{ withdrawn | join(', ') }}){% endif %}
        {% if several %}
        )
        {{ ends_by_delivered_code(columns, key) }}
        {% endif %}
    {% endset %}
    {{ return(view) }}
{% endmacro %}
