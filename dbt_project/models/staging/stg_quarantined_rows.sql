with quarantined_rows as (
    select * from {{ source('raw', 'quarantined_rows') }}
)

select * from quarantined_rows
