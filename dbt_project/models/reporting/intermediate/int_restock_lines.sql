{% set terms = [
    'expected_demand_units', 'safety_stock_units', 'expiring_units', 'order_up_to_units', 'on_hand_units', 'on_order_units',
    'on_order_not_counted_units', 'on_order_doubtful_units', 'reserved_units', 'backordered_units',
    'promised_later_units', 'unrecorded_sales_units', 'inventory_position_units', 'shortfall_units',
    'moq_added_units', 'multiple_added_units', 'supplier_minimum_added_units', 'reduced_units', 'order_units', 'order_packs',
    'transfer_in_units', 'transfer_out_units', 'proposed_transfer_in_units', 'proposed_transfer_out_units',
    'lost_units_without_order', 'lost_units_with_order', 'remainder_units'
] %}
with restock_lines as (
    select * from {{ source('predictions', 'restock_lines') }}
),

lines as (
    select
        sku,
        location_id,
        supplier_id,
        as_of_date,
        status,
        exception,
        exception_cause,
        target_type,
        nullif(target_value, cast('nan' as double)) as target_value,
        protection_periods,
        order_interval_periods,
        arrival_period,
        stockout_period_50,
        stockout_period_10,
        {% for term in terms %}
        {{ units(term) }} as {{ term }},
        {% endfor %}
        nullif(stockout_probability_without_order, cast('nan' as double)) as stockout_probability_without_order,
        nullif(stockout_probability_with_order, cast('nan' as double)) as stockout_probability_with_order,
        cast(nullif(waiting_cost, cast('nan' as double)) as decimal(18, 4)) as waiting_cost,
        nullif(days_of_cover_before, cast('nan' as double)) as days_of_cover_before,
        nullif(days_of_cover_after, cast('nan' as double)) as days_of_cover_after,
        forecast_model_version
    from restock_lines
)

select * from lines
