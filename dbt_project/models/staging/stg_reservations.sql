with reservations as (
    select * from {{ source('raw', 'reservations') }}
)

select * from reservations
