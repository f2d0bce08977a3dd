with service_promises as (
    select * from {{ source('predictions', 'service_promises') }}
),

promises as (
    select
        cohort,
        as_of_date,
        cycles,
        promised_service,
        delivered_service,
        low as delivered_service_low,
        high as delivered_service_high,
        is_calibrated,
        corrected_target,
        model_version as forecast_model_version
    from service_promises
)

select * from promises
