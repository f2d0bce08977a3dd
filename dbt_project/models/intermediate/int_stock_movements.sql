{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="{{ forget_unseen_batches() }}"
    )
}}

with stock_movements as (
    select * from {{ ref('stg_stock_movements') }}
),

batches_to_load as (
    select distinct batch_id
    from stock_movements
    {% if is_incremental() %}
    where batch_id not in (select batch_id from {{ this }})
    {% endif %}
),

loaded as (
    select
        *,
        {{ fingerprint([
            'source', 'document', 'line', 'revision', 'occurred_at', 'recorded_at', 'sku', 'location_id', 'movement_type',
            'quantity_units', 'unit_price', 'lot_id', 'reference', 'reason', 'ingested_at'
        ]) }} as row_fingerprint
    from stock_movements
    where batch_id in (select batch_id from batches_to_load)
)

select * from loaded
