{# Last day of a row by itself: what was over by then has not ended. #}
{% set over_by = {'prices': 'to_date', 'stock_lots': 'expires_date', 'calendar_events': 'date'} %}

{% set tables = {
    'products': ['sku'],
    'locations': ['location_id'],
    'suppliers': ['supplier_id'],
    'supplier_terms': ['sku', 'location_id', 'supplier_id'],
    'purchase_order_lines': ['purchase_order_id', 'line'],
    'stock_lots': ['sku', 'location_id', 'lot_id'],
    'transfer_lanes': ['from_location_id', 'to_location_id'],
    'prices': ['sku', 'location_id', 'from_date'],
    'product_links': ['sku', 'predecessor_sku'],
    'calendar_events': ['date', 'country', 'event_name', 'location_id'],
} %}

with
{% for table in tables %}
latest_{{ table }} as (
    {{ latest_version(table, keep_ended=true) }}
),

{% endfor %}
ended_rows as (
    {% for table, key in tables.items() %}
    select
        '{{ table }}' as table_name,
        concat_ws(', ', {{ key | join(', ') }}) as row_key,
        ended_date,
        case when source_row = 0 then 'full_list' else 'valid_to' end as ended_by,
        source_file,
        ingested_at
    from latest_{{ table }}
    where ended_date is not null {{ 'and ended_date <= ' ~ over_by[table] if table in over_by }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from ended_rows
