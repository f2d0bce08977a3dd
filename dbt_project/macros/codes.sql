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
