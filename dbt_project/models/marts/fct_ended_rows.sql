with ended_rows as (
    select * from {{ ref('stg_ended_rows') }}
)

select * from ended_rows
