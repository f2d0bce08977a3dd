{{ config(materialized='table') }}

with generations as (
    select
        *,
        greatest(business_date, coalesce(data_until_date, business_date)) as day
    from {{ source('predictions', 'generations') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

batches as (
    select batch_id, ingested_at from {{ ref('stg_product_versions') }}
    union
    select batch_id, ingested_at from {{ ref('stg_supplier_term_versions') }}
),

latest_day as (
    select max(day) as day
    from generations
),

published as (
    select batches.batch_id, min(generations.number) as number
    from batches
    left join generations on batches.ingested_at <= generations.ingested_until
    group by batches.batch_id
),

-- No clock is asked: data may be loaded long after its days. What no run has published yet counts from the day of this one.
batch_days as (
    select
        published.batch_id,
        case
            when published.number = 1 then null
            when published.number is null and latest_day.day is not null then greatest(as_of.as_of_date, latest_day.day)
            else generations.day
        end as from_date
    from published
    cross join as_of
    cross join latest_day
    left join generations on published.number = generations.number
)

select * from batch_days
