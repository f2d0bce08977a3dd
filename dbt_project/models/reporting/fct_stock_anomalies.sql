with anomalies as (
    select * from {{ source('predictions', 'stock_anomalies') }}
),

scored as (
    select sku, location_id, day, anomaly_score, kind, reason, model_version
    from anomalies
)

select * from scored
