with terms as (
    select * from {{ source('predictions', 'restock_terms') }}
),

numbered as (
    select
        sku,
        location_id,
        cast(step as integer) as step,
        term,
        {{ units('units') }} as term_units,
        as_of_date
    from terms
)

select * from numbered
