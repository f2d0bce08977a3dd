with context as (
    select * from {{ ref('int_restock_context') }}
),

changes as (
    select * from {{ ref('int_restock_changes') }}
),

reasons as (
    select * from {{ ref('int_restock_reasons') }}
),

left_out as (
    select * from {{ ref('int_restock_left_out') }}
),

recommendations as (
    select
        md5(concat(as_of_date, ':', length(sku), ':', sku, ':', location_id)) as recommendation_id,
        as_of_date, sku, product_name, location_id, location_name, supplier_id, supplier_name, status, order_units,
        order_packs,
        cast(pack_units as decimal(18, 3)) as pack_units,
        unit_cost,
        cast(order_units * coalesce(unit_cost, 0) as decimal(18, 4)) as order_value,
        cast(supplier_order_value as decimal(18, 4)) as supplier_order_value,
        supplier_minimum_order_value, supplier_fixed_order_cost, waiting_cost,
        case
            when status <> 'order' then null
            when has_order_days then next_order_date
            else greatest(
                next_order_date, least(coalesce(last_safe_order_date, before_next_review_date), before_next_review_date)
            )
        end as order_by_date,
        next_order_date,
        case when status = 'order' then arrival_date end as expected_arrival_date,
        next_delivery_date, last_counted_date, is_negative, suspected_date, suspected_kind, record_trust,
        stockout_date_50, stockout_date_10, stockout_probability_without_order, stockout_probability_with_order,
        lost_units_without_order, lost_units_with_order,
        cast(lost_units_without_order * coalesce(unit_margin, 0) as decimal(18, 4)) as lost_margin_without_order,
        cast(lost_units_with_order * coalesce(unit_margin, 0) as decimal(18, 4)) as lost_margin_with_order,
        case
            when left_out.other_consumption_daily_units > 0
                then round(greatest(inventory_position_units, 0) / (expected_demand_units / protection_periods + left_out.other_consumption_daily_units), 3)
            else days_of_cover_before
        end as days_of_cover_before,
        case
            when left_out.other_consumption_daily_units > 0
                then round(greatest(inventory_position_units + proposed_transfer_in_units + order_units, 0) / (expected_demand_units / protection_periods + left_out.other_consumption_daily_units), 3)
            else days_of_cover_after
        end as days_of_cover_after,
        left_out.other_consumption_daily_units,
        cast(last_4_weeks_units as decimal(18, 3)) as last_4_weeks_units,
        cast(next_4_weeks_units as decimal(18, 3)) as next_4_weeks_units,
        protection_periods as protection_days, order_interval_periods as order_interval_days,
        lead_time_days, lead_time_source, lead_time_receipts_count, review_period_days, moq_units, order_multiple_source, target_type,
        target_value, policy_source, policy_note, expected_demand_units, safety_stock_units, expiring_units,
        order_up_to_units, on_hand_units, on_order_units, transfer_in_units, on_order_not_counted_units,
        on_order_doubtful_units, reserved_units, transfer_out_units, backordered_units, promised_later_units,
        unrecorded_sales_units, inventory_position_units,
        proposed_transfer_in_units, proposed_transfer_out_units,
        shortfall_units, moq_added_units, multiple_added_units, supplier_minimum_added_units, reduced_units,
        cast(moq_added_units * coalesce(unit_cost, 0) as decimal(18, 4)) as moq_added_value,
        cast(multiple_added_units * coalesce(unit_cost, 0) as decimal(18, 4)) as multiple_added_value,
        last_sale_date, remainder_units,
        cast(remainder_units * coalesce(unit_cost, 0) as decimal(18, 4)) as remainder_value,
        forecast_note, previous_decided_date, previous_order_units,
        cast(change_units as decimal(18, 3)) as change_units,
        change_reason, forecast_basis, reason, exception, exception_cause, forecast_model_version
    from context
    inner join changes using (sku, location_id)
    inner join reasons using (sku, location_id)
    inner join left_out using (sku, location_id)
)

select * from recommendations
