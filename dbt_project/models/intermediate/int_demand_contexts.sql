{{ config(materialized='table') }}

with spans as (
    select
        spans.sku,
        spans.location_id,
        -- The last day with a row: no row is written while the sales of a location have not arrived.
        case when silences.location_id is null then spans.last_day else silences.last_sale_day end as until_day
    from {{ ref('int_item_location_spans') }} as spans
    left join {{ ref('int_location_silences') }} as silences
        on
            spans.location_id = silences.location_id
            and silences.is_missing
            and spans.last_day between silences.from_day and silences.until_day
),

{{ demand_contexts('spans') }}

select * from demand_contexts
