with settled_movements as (
    select * from {{ ref('int_settled_movements') }}
),

effective as (
    select * from settled_movements
    where not is_unknown_sku and not is_unknown_location and not is_after_as_of
)

select * from effective
