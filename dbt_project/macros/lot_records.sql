{# What is on record of each lot after each movement of the items counted by lot, as the last step `record_totals`. #}

{% macro fold_order() -%}
order by occurred_at, case when movement_type = 'count' then 1 else 0 end, source, document, line, revision
{%- endmacro %}

{% macro lot_records(movement_columns) %}
{% set of_item = 'partition by sku, location_id ' ~ fold_order() %}
{% set of_lot = 'partition by sku, location_id, lot_id ' ~ fold_order() %}
{% set moved_units = 'case when movement_type = \'count\' then 0 else quantity_units end' %}
items_counted_by_lot as (
    select distinct sku, location_id from dated where movement_type = 'count' and lot_id is not null
    {% if is_incremental() %}
    union
    select distinct sku, location_id
    from {{ this }} semi join dated using (sku, location_id)
    where movement_type = 'count' and lot_id is not null
    {% endif %}
),

lot_history as (
    select {{ movement_columns }} from dated semi join items_counted_by_lot using (sku, location_id)
    {% if is_incremental() %}
    union all
    select {{ movement_columns }} from {{ this }} semi join items_counted_by_lot using (sku, location_id)
    {% endif %}
),

lot_sums as (
    select
        *,
        sum({{ moved_units }}) over ({{ of_item }}) as moved_units,
        sum({{ moved_units }}) over ({{ of_lot }}) as lot_moved_units,
        sum(quantity_units) over (
            partition by sku, location_id, lot_id, source, document, occurred_at, movement_type = 'count' order by line
        ) as lot_counted_units
    from lot_history
),

lot_records as (
    select
        *,
        lot_moved_units + coalesce(
            last_value(case when movement_type = 'count' then lot_counted_units - lot_moved_units end ignore nulls)
                over ({{ of_lot }}), 0
        ) as record_units
    from lot_sums
),

record_changes as (
    select
        *,
        case when lot_id is null then 0 else record_units - lag(record_units, 1, 0) over ({{ of_lot }}) end as found_units
    from lot_records
),

record_totals as (
    select *, sum(found_units) over ({{ of_item }}) as all_lots_units from record_changes
),
{% endmacro %}
