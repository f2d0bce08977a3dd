with lines as (
    select * from {{ ref('int_restock_lines') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

policies as (
    select * from {{ ref('restock_policies') }}
),

products as (
    select * from {{ ref('dim_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

suppliers as (
    select * from {{ ref('dim_suppliers') }}
),

rejected_needs as (
    select * from {{ source('predictions', 'rejected_needs') }}
),

recent_sales as (
    select * from {{ ref('int_restock_sales') }}
),

of_forecast as (
    select * from {{ ref('int_restock_forecasts') }}
),

forecast_doubts as (
    select * from {{ ref('int_restock_forecast_doubts') }}
),

records as (
    select * from {{ ref('int_restock_records') }}
),

deliveries as (
    select * from {{ ref('int_restock_deliveries') }}
),

reductions as (
    select * from {{ ref('int_restock_reductions') }}
),

supplier_orders as (
    select lines.supplier_id, sum(lines.order_units * replenishment_terms.unit_cost) as order_value
    from lines
    inner join replenishment_terms
        on lines.sku = replenishment_terms.sku and lines.location_id = replenishment_terms.location_id
    where lines.status = 'order'
    group by lines.supplier_id
),

dated as (
    select
        lines.*,
        products.product_name,
        locations.location_name,
        case when records.unrecorded_days > 0 then locations.sales_known_until_date end as sales_known_until_date,
        suppliers.supplier_name,
        policies.policy_source,
        policies.policy_note,
        nullif(
            concat_ws(
                '. ',
                case
                    when of_forecast.new_item_note is not null and reductions.order_up_to_max_units > 0
                        then concat(
                            of_forecast.new_item_note, '; its first order is limited to ', policies.first_order_days,
                            ' days of that (policy first_order_days)'
                        )
                    else of_forecast.new_item_note
                end,
                of_forecast.woken_note,
                of_forecast.promotion_note
            ),
            ''
        ) as forecast_basis,
        replenishment_terms.unit_cost,
        replenishment_terms.lead_time_days,
        replenishment_terms.lead_time_source,
        replenishment_terms.lead_time_receipts_count,
        replenishment_terms.review_period_days,
        replenishment_terms.moq_units, replenishment_terms.order_multiple_source,
        coalesce(replenishment_terms.order_multiple_units, 1) as pack_units,
        replenishment_terms.minimum_order_value as supplier_minimum_order_value,
        replenishment_terms.fixed_order_cost as supplier_fixed_order_cost,
        coalesce(supplier_orders.order_value, 0) as supplier_order_value,
        greatest(replenishment_terms.unit_price - replenishment_terms.unit_cost, 0) as unit_margin,
        coalesce(recent_sales.last_4_weeks_units, 0) as last_4_weeks_units,
        of_forecast.next_4_weeks_units,
        records.last_counted_date,
        records.is_negative,
        case when not records.is_stock_known then policies.unknown_stock end as assumed_stock,
        records.suspected_date, records.suspected_kind,
        records.record_trust,
        {% for step in reducing_steps() %}
        reductions.{{ step.name }}_units,
        {% endfor %}
        rtrim(rejected_needs.rejection, '.') as rejection,
        deliveries.next_delivery_date,
        deliveries.doubtful_since_date, deliveries.left_out_text,
        replenishment_terms.last_sale_date,
        deliveries.after_sale_units,
        forecast_doubts.forecast_note,
        forecast_doubts.doubtful_units,
        forecast_doubts.is_forecast_high,
        of_forecast.season_units,
        of_forecast.season_change,
        of_forecast.season_trust,
        coalesce(trim(suppliers.order_weekdays), '') <> '' as has_order_days,
        {{ add_days('lines.as_of_date', 'replenishment_terms.next_order_in_days + 1') }} as next_order_date,
        {{ add_days('lines.as_of_date', 'lines.arrival_period') }} as arrival_date,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_50') }} as stockout_date_50,
        {{ add_days('lines.as_of_date', 'lines.stockout_period_10') }} as stockout_date_10
    from lines
    inner join products on lines.sku = products.sku
    inner join locations on lines.location_id = locations.location_id
    left join suppliers on lines.supplier_id = suppliers.supplier_id
    left join replenishment_terms
        on lines.sku = replenishment_terms.sku and lines.location_id = replenishment_terms.location_id
    left join policies on lines.sku = policies.sku and lines.location_id = policies.location_id
    left join records on lines.sku = records.sku and lines.location_id = records.location_id
    left join deliveries on lines.sku = deliveries.sku and lines.location_id = deliveries.location_id
    left join of_forecast on lines.sku = of_forecast.sku and lines.location_id = of_forecast.location_id
    left join forecast_doubts on lines.sku = forecast_doubts.sku and lines.location_id = forecast_doubts.location_id
    left join reductions on lines.sku = reductions.sku and lines.location_id = reductions.location_id
    left join rejected_needs
        on lines.sku = rejected_needs.sku and lines.location_id = rejected_needs.location_id
    left join recent_sales on lines.sku = recent_sales.sku and lines.location_id = recent_sales.location_id
    left join supplier_orders on lines.supplier_id = supplier_orders.supplier_id
),

scheduled as (
    select
        *,
        {{ add_days('stockout_date_10', '-lead_time_days') }} as last_safe_order_date,
        {{ add_days('next_order_date', 'review_period_days - 1') }} as before_next_review_date
    from dated
)

select * from scheduled
