with quarantined_rows as (
    select * from {{ ref('stg_quarantined_rows') }}
),

held_rows as (
    select * from {{ ref('int_held_rows') }}
),

not_counted as (
    select table_name, batch_id, ingested_at, source_file, source_row, original_text, rule, reason, false as is_waiting
    from quarantined_rows
    union all
    select table_name, batch_id, ingested_at, source_file, source_row, original_text, rule, reason, true as is_waiting
    from held_rows
)

select * from not_counted
