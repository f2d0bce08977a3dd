{{ config(materialized='ephemeral') }}

with product_units as (
    select * from {{ ref('stg_product_units') }}
),

ranked as (
    select
        *,
        row_number() over (partition by sku order by batch_id desc, source_row desc) = 1 as is_latest
    from product_units
),

held as (
    select
        'products' as table_name,
        batch_id,
        ingested_at,
        source_file,
        source_row,
        concat_ws(',', sku, product_name, category, delivered_unit, delivered_unit_cost) as original_text,
        'unit_changed' as rule,
        concat(
            'the unit of ', sku, ' was ''', unit_of_measure, ''' and is ''', delivered_unit, ''' here; until it is clear how they convert, ',
            'the product stays as it was, and all its quantities count as ''', unit_of_measure, '''. `inventorybot quarantine fix REFERENCE ',
            '--set previous_units_per_unit=1` says that it is another name of the same unit; another number says how many ''',
            unit_of_measure, ''' are in one ''', delivered_unit, ''', if movements, orders and terms go on to count ''', unit_of_measure,
            ''' (cost and price are divided by it). If they count ''', delivered_unit, ''' from now on, give it a sku of its own and ',
            'discard this row'
        ) as reason
    from ranked
    where is_latest and is_refused
)

select * from held
