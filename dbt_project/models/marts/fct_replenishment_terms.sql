with preferred_terms as (
    select * from {{ ref('int_preferred_supplier_terms') }}
),

suppliers as (
    select * from {{ ref('stg_suppliers') }}
),

products as (
    select * from {{ ref('stg_products') }}
),

lead_times as (
    select * from {{ ref('fct_supplier_lead_times') }}
),

item_locations as (
    select * from {{ ref('dim_item_locations') }}
),

seasons as (
    select * from {{ ref('dim_product_seasons') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

measured as (
    select
        supplier_id, location_id,
        count(*) as receipts_count,
        round(avg(lead_time_days), 3) as mean_days,
        round(sqrt({{ exact_var_samp('lead_time_days') }}), 3) as sd_days
    from lead_times
    group by supplier_id, location_id
),

-- A proposal made on the evidence of as_of is ordered the day after it at the earliest.
coming_days as (
    select
        offsets.days_from_now,
        lower(substring({{ weekday_name(add_days('as_of.as_of_date', 'offsets.days_from_now + 1')) }}, 1, 3)) as weekday
    from as_of
    cross join (values (0), (1), (2), (3), (4), (5), (6)) as offsets (days_from_now)
),

next_orders as (
    select suppliers.supplier_id, min(coming_days.days_from_now) as next_order_in_days
    from suppliers
    inner join coming_days
        on
            coalesce(trim(suppliers.order_weekdays), '') = ''
            or lower(suppliers.order_weekdays) like concat('%', coming_days.weekday, '%')
    group by suppliers.supplier_id
),

chosen as (
    select
        preferred_terms.*,
        suppliers.review_period_days,
        suppliers.minimum_order_value,
        suppliers.fixed_order_cost,
        next_orders.next_order_in_days,
        coalesce(measured.receipts_count, 0) as receipts_count,
        coalesce(measured.receipts_count >= {{ least_receipts() }}, false) as is_measured,
        measured.mean_days, measured.sd_days,
        products.unit_price,
        products.shelf_life_days
    from preferred_terms
    inner join suppliers on preferred_terms.supplier_id = suppliers.supplier_id
    inner join products on preferred_terms.sku = products.sku
    left join next_orders on preferred_terms.supplier_id = next_orders.supplier_id
    left join measured
        on preferred_terms.supplier_id = measured.supplier_id and preferred_terms.location_id = measured.location_id
    where products.is_active
),

terms as (
    select
        sku, location_id, supplier_id,
        cast(case when is_measured then mean_days else lead_time_days end as decimal(18, 3)) as lead_time_days_mean,
        cast(case when is_measured then sd_days else 0 end as decimal(18, 3)) as lead_time_days_sd,
        cast(ceil(case when is_measured then mean_days else lead_time_days end) as integer) as lead_time_days,
        case when is_measured then 'measured' else 'contract' end as lead_time_source,
        cast(receipts_count as integer) as lead_time_receipts_count,
        review_period_days,
        cast(next_order_in_days as integer) as next_order_in_days,
        moq_units,
        order_multiple_units,
        order_multiple_source,
        minimum_order_value, fixed_order_cost,
        unit_cost,
        unit_price,
        shelf_life_days,
        supplier_sku,
        valid_to
    from chosen
),

protected as (
    select
        terms.sku,
        terms.location_id,
        as_of.as_of_date,
        {{ add_days('as_of.as_of_date', 'terms.next_order_in_days + terms.lead_time_days + terms.review_period_days') }} as protected_until
    from terms
    cross join as_of
),

coming_seasons as (
    select
        protected.sku,
        protected.location_id,
        protected.as_of_date, seasons.to_date,
        seasons.to_date > protected.as_of_date as is_to_come,
        coalesce(seasons.from_date <= protected.protected_until, true) as is_reached
    from protected
    inner join seasons on protected.sku = seasons.sku and protected.location_id = seasons.location_id
),

-- An order is for the last season that begins while it has to last; where none does, for the next one.
season_ends as (
    select
        sku,
        location_id,
        as_of_date,
        coalesce(
            max(case when is_to_come and is_reached then to_date end), min(case when is_to_come then to_date end), max(to_date)
        ) as last_sale_date
    from coming_seasons
    group by sku, location_id, as_of_date
),

described as (
    select
        terms.*,
        case
            when item_locations.demand_from > as_of.as_of_date
                then cast({{ days_between('as_of.as_of_date', 'item_locations.demand_from') }} as integer)
        end as first_sale_in_days,
        season_ends.last_sale_date,
        cast({{ days_between('season_ends.as_of_date', 'season_ends.last_sale_date') }} as integer) as last_sale_in_days
    from terms
    inner join item_locations on terms.sku = item_locations.sku and terms.location_id = item_locations.location_id
    cross join as_of
    left join season_ends on terms.sku = season_ends.sku and terms.location_id = season_ends.location_id
)

select * from described
