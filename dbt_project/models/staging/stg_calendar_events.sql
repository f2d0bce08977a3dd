with calendar_events as (
    select * from {{ source('raw', 'calendar_events') }}
),

ranked as (
    select
        *,
        row_number() over (partition by date, country, event_name order by batch_id desc, source_row desc) as version_rank
    from calendar_events
),

latest_version as (
    select
        date,
        country,
        event_name,
        event_type,
        batch_id,
        ingested_at,
        source_file,
        source_row
    from ranked
    where version_rank = 1
)

select * from latest_version
