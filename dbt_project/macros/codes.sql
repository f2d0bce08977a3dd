{#
    Codes that look alike: what spreadsheets, keyboards and careless typing make of one code. Where the parts of two codes
    that survive all of that are equal, one may be meant by the other.
#}

{# Wide forms of letters and digits, and Cyrillic letters that look like Latin ones, beside the plain signs. #}
{% macro plain_signs() %}
    {% set wide, plain = [], [] %}
    {% for number in range(33, 127) %}
        {% do wide.append('%c' | format(number + 65248)) %}
        {% do plain.append('%c' | format(number)) %}
    {% endfor %}
    {{ return({'from': (wide | join) ~ 'АВЕКМНОРСТУХасеорх', 'to': ((plain | join) ~ 'ABEKMHOPCTYXaceopx') | replace("'", "''")}) }}
{% endmacro %}


{# What survives of a code: without signs between letters and digits, ".0" and leading zeros; O is 0, I and L are 1. #}
{% macro core_of_code(code) -%}
    {%- set signs = plain_signs() -%}
    nullif(ltrim(translate(lower(regexp_replace(regexp_replace(
        translate({{ code }}, '{{ signs.from }}', '{{ signs.to }}'), '[.,]0+$', ''
    ), '[^\p{L}\p{N}]', '', 'g')), 'oil', '011'), '0'), '')
{%- endmacro %}


{# The codes of raw rows that people said to stand for others, as rows of (column, code, meaning). #}
{% macro mapped_codes(folder) %}
    {% if not folder or not matching_files(folder ~ '/mapped_codes.json') %}
        {{ return([]) }}
    {% endif %}
    {% set query %}
        select entry.column_name, replace(entry.code, '''', ''''''), replace(entry.meaning, '''', '''''')
        from (
            select unnest(from_json(content, '[{"column_name": "varchar", "code": "varchar", "meaning": "varchar"}]')) as entry
            from read_text('{{ folder }}/mapped_codes.json')
        )
        order by all
    {% endset %}
    {{ return(run_query(query).rows | map('list') | list) }}
{% endmacro %}


{# A column of a raw table with what people said its codes stand for. The ledger of the online store never changes. #}
{% macro mapped_column(name, mapped) %}
    {% set known = mapped | selectattr(0, 'equalto', name) | list %}
    {% if not known %}
        {{ return(adapter.quote(name)) }}
    {% endif %}
    {% set cases %}
        case
            when source_file = 'online_store' then {{ adapter.quote(name) }}
            {% for _, code, meaning in known %}when {{ adapter.quote(name) }} = '{{ code }}' then '{{ meaning }}' {% endfor %}
            else {{ adapter.quote(name) }}
        end
    {% endset %}
    {{ return(cases) }}
{% endmacro %}


{#
    Rows of `made` where several delivered codes may stand for one: what ended under one code goes on as another code has it,
    from that batch on, and has ended only when none of them is delivered any more.
#}
{% macro ends_by_delivered_code(columns, key) %}
    , others as (
        select
            {% for name in columns %}
            {{ 'ends' if name in ('batch_id', 'ingested_at', 'source_file', 'source_row') else 'alike' }}.{{ adapter.quote(name) }},
            {% endfor %}
            alike.is_ended as is_gone,
            alike.batch_id as since
        from made as ends
        inner join made as alike
            on
                {% for name in key %}
                ends.{{ adapter.quote(name) }} is not distinct from alike.{{ adapter.quote(name) }} and
                {% endfor %}
                ends.delivered_key <> alike.delivered_key
                and alike.batch_id <= ends.batch_id
        where ends.is_ended
        qualify
            row_number() over (
                partition by ends.delivered_key, ends.batch_id, alike.delivered_key
                order by alike.batch_id desc, alike.source_row desc
            ) = 1
    ),

    going_on as (
        select * exclude (is_gone, since) from others
        where not coalesce(is_gone, false)
        qualify row_number() over (partition by {{ key | join(', ') }}, batch_id order by since desc) = 1
    )

    select * exclude (delivered_key) from made
    where
        not coalesce(is_ended, false)
        or not exists (
            select 1 from going_on
            where
                {% for name in key %}
                going_on.{{ adapter.quote(name) }} is not distinct from made.{{ adapter.quote(name) }} and
                {% endfor %}
                going_on.batch_id = made.batch_id
        )
    union all by name
    select * from going_on
{% endmacro %}
