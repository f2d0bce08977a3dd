with rule_costs as (
    select * from {{ source('predictions', 'restock_rule_costs') }}
),

risks as (
    select
        rule,
        segment,
        as_of_date,
        items as replayed_items,
        days as replayed_days,
        cast(cost_with_rule as decimal(18, 4)) as cost_with_rule,
        cast(cost_without_rule as decimal(18, 4)) as cost_without_rule,
        cast(cost_with_rule as decimal(18, 4)) - cast(cost_without_rule as decimal(18, 4)) as cost_of_rule,
        cast(cost_of_rule / (items * days) * 365 as decimal(18, 4)) as cost_of_rule_per_item_and_year,
        fill_rate_with_rule,
        fill_rate_without_rule,
        model_version as forecast_model_version
    from rule_costs
)

select * from risks
