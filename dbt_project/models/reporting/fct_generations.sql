with generations as (
    select * from {{ source('predictions', 'generations') }}
),

published as (
    select
        cast(number as integer) as number,
        generation,
        business_date as as_of_date,
        data_until_date,
        published_at,
        ingested_until,
        run_id,
        content_hash
    from generations
)

select * from published
