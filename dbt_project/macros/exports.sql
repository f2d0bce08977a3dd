{#
    After an invocation in which everything passed, write each mart and report it built to
    INVENTORYBOT_EXPORTS/<schema>/<table>.parquet, ordered by its grain. A failure anywhere writes nothing: what the steps
    after dbt read always passed all its tests.
#}
{% macro export_relations(results) %}
    {% set folder = env_var('INVENTORYBOT_EXPORTS', '') | replace("'", "''") %}
    {% if execute and folder %}
        {% set failed = results | rejectattr('status', 'in', ['success', 'pass', 'warn']) | list %}
        {% if failed %}
            {{ log('Nothing is exported: ' ~ failed | length ~ ' steps of this invocation did not pass.', info=true) }}
        {% else %}
            {% for result in results
                if result.node.resource_type == 'model' and result.node.schema in ['marts', 'reporting'] %}
                {% do export_relation(result.node, folder) %}
            {% endfor %}
        {% endif %}
    {% endif %}
{% endmacro %}


{% macro export_relation(node, folder) %}
    {# A COPY to a file does not make its folder; one to a folder does, and of no rows it writes no file. #}
    {% do run_query(
        "copy (select 1 as nothing where false) to '" ~ folder ~ "/" ~ node.schema ~
        "' (format parquet, file_size_bytes '1GB', write_empty_file false, overwrite_or_ignore true)"
    ) %}
    {% set copy %}
        copy (
            select * from {{ adapter.quote(node.schema) }}.{{ adapter.quote(node.name) }}
            order by {{ node.config.meta['grain'] | join(', ') }}
        ) to '{{ folder }}/{{ node.schema }}/{{ node.name }}.parquet' (format parquet, compression zstd)
    {% endset %}
    {% do run_query(copy) %}
{% endmacro %}
