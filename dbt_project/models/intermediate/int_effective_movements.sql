with settled_movements as (
    select * from {{ ref('int_settled_movements') }}
),

effective as (
    select * from settled_movements
    where not is_unknown_sku and not is_unknown_location and not is_too_late
)

select * from effective
