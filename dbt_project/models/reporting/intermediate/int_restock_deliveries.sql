with lines as (
    select * from {{ ref('int_restock_lines') }}
),

replenishment_terms as (
    select * from {{ ref('fct_replenishment_terms') }}
),

open_orders as (
    select * from {{ ref('fct_open_orders') }}
),

open_proposals as (
    select * from {{ source('predictions', 'open_proposals') }}
),

open_transfers as (
    select * from {{ source('predictions', 'open_transfers') }}
),

left_out as (
    select * from {{ ref('int_restock_left_out') }}
),

-- An overdue order comes on the day that is planned now, not on the one that has passed.
next_deliveries as (
    select lines.sku, lines.location_id, min(deliveries.planned_date) as next_delivery_date
    from lines
    inner join (
        select open_orders.sku, open_orders.location_id, {{ add_days('lines.as_of_date', 'open_orders.periods_ahead') }} as planned_date
        from open_orders
        inner join lines on open_orders.sku = lines.sku and open_orders.location_id = lines.location_id
        where not open_orders.is_doubtful
        union all
        select
            open_proposals.sku,
            open_proposals.location_id,
            greatest(open_proposals.expected_date, {{ add_days('lines.as_of_date', 1) }}) as planned_date
        from open_proposals
        inner join lines on open_proposals.sku = lines.sku and open_proposals.location_id = lines.location_id
        union all
        select open_transfers.sku, open_transfers.location_id, {{ add_days('lines.as_of_date', 'open_transfers.periods_ahead') }}
        from open_transfers
        inner join lines on open_transfers.sku = lines.sku and open_transfers.location_id = lines.location_id
        where open_transfers.on_order_units > 0
    ) as deliveries on lines.sku = deliveries.sku and lines.location_id = deliveries.location_id
    group by lines.sku, lines.location_id
),

doubtful_orders as (
    select sku, location_id, min(expected_date) as doubtful_since_date
    from open_orders
    where is_doubtful
    group by sku, location_id
),

deliveries_after_sale as (
    select deliveries.sku, deliveries.location_id, sum(deliveries.open_units) as after_sale_units
    from (
        select sku, location_id, expected_date, open_units from open_orders
        union all
        select sku, location_id, expected_date, {{ units('open_units') }} as open_units from open_proposals
        union all
        select sku, location_id, expected_date, {{ units('on_order_units') }} as open_units from open_transfers
    ) as deliveries
    inner join replenishment_terms
        on deliveries.sku = replenishment_terms.sku and deliveries.location_id = replenishment_terms.location_id
    where deliveries.expected_date > replenishment_terms.last_sale_date
    group by deliveries.sku, deliveries.location_id
),

joined as (
    select
        lines.sku,
        lines.location_id,
        next_deliveries.next_delivery_date,
        doubtful_orders.doubtful_since_date,
        deliveries_after_sale.after_sale_units,
        left_out.left_out_text
    from lines
    left join left_out on lines.sku = left_out.sku and lines.location_id = left_out.location_id
    left join next_deliveries
        on lines.sku = next_deliveries.sku and lines.location_id = next_deliveries.location_id
    left join doubtful_orders
        on lines.sku = doubtful_orders.sku and lines.location_id = doubtful_orders.location_id
    left join deliveries_after_sale
        on lines.sku = deliveries_after_sale.sku and lines.location_id = deliveries_after_sale.location_id
)

select * from joined
