{# Days back from as_of that the classes look at: a year, so that every season is in it. #}
{% set days_to_classify = 365 %}

with products as (
    select * from {{ ref('stg_products') }}
),

locations as (
    select * from {{ ref('dim_locations') }}
),

spans as (
    select * from {{ ref('int_item_location_spans') }}
),

preferred_terms as (
    select * from {{ ref('int_preferred_supplier_terms') }}
),

other_consumption as (
    select * from {{ ref('int_other_consumption') }}
),

daily_demand as (
    select * from {{ ref('fct_daily_demand') }}
),

as_of as (
    select * from {{ ref('int_as_of') }}
),

item_locations as (
    select sku, location_id from spans union select sku, location_id from preferred_terms
),

recent_demand as (
    select
        daily_demand.*,
        {{ days_between('daily_demand.day', 'as_of.as_of_date') }} as days_ago
    from daily_demand
    cross join as_of
    where daily_demand.day > {{ add_days('as_of.as_of_date', -days_to_classify) }}
),

-- Days out of stock or closed tell nothing about how often and how much customers ask.
demand_patterns as (
    select
        sku, location_id,
        sum(unconstrained_demand_units) / count(*) as mean_daily_demand_units,
        sum(demand_units * unit_price) as sales_value,
        count(case when is_in_stock and is_open then 1 end) as observed_days,
        count(case when is_in_stock and is_open and demand_units > 0 then 1 end) as demand_days,
        avg(case when is_in_stock and is_open and demand_units > 0 then demand_units end) as mean_size_units,
        {{ exact_var_samp('case when is_in_stock and is_open and demand_units > 0 then demand_units end') }}
            as size_variance,
        count(case when demand_units > 0 then 1 end) as days_with_sales
    from recent_demand
    group by sku, location_id
),

-- Weeks are counted back from as_of, so that each is complete.
weeks as (
    select
        sku, location_id,
        floor(days_ago / 7) as weeks_ago, sum(unconstrained_demand_units) as demand_units
    from recent_demand
    group by sku, location_id, floor(days_ago / 7)
    having count(*) = 7
),

weekly_variation as (
    select
        sku, location_id, sqrt({{ exact_var_samp('cast(demand_units as decimal(18, 3))') }}) / nullif(avg(demand_units), 0) as weekly_cv
    from weeks
    group by sku, location_id
),

value_shares as (
    select
        sku, location_id,
        sum(sales_value) over (
            partition by location_id order by sales_value desc, sku rows between unbounded preceding and current row
        ) - sales_value as value_before,
        sum(sales_value) over (partition by location_id) as value_in_all
    from demand_patterns
    where sales_value > 0
),

classified as (
    select
        item_locations.sku,
        item_locations.location_id,
        round(demand_patterns.observed_days / nullif(demand_patterns.demand_days, 0), 4) as adi,
        round(
            case
                when demand_patterns.demand_days > 0
                    then coalesce(demand_patterns.size_variance, 0) / power(demand_patterns.mean_size_units, 2)
            end, 4
        ) as cv2,
        coalesce(demand_patterns.mean_daily_demand_units, 0) as mean_daily_demand_units,
        case
            when value_shares.value_before < 0.80 * value_shares.value_in_all then 'A'
            when value_shares.value_before < 0.95 * value_shares.value_in_all then 'B'
            else 'C'
        end as abc_class,
        case
            when weekly_variation.weekly_cv <= 0.5 then 'X'
            when weekly_variation.weekly_cv <= 1.0 then 'Y'
            else 'Z'
        end as xyz_class
    from item_locations
    left join demand_patterns using (sku, location_id)
    left join weekly_variation using (sku, location_id)
    left join value_shares using (sku, location_id)
),

described as (
    select
        classified.sku, classified.location_id,
        products.product_name, products.category,
        locations.location_type,
        spans.active_from, spans.active_to,
        coalesce(spans.demand_from, products.launched_date) as demand_from, locations.sales_known_until_date,
        -- Syntetos, Boylan and Croston (2005): cut-off values 1.32 and 0.49.
        case
            when classified.adi is null then 'none'
            when classified.adi < 1.32 and classified.cv2 < 0.49 then 'smooth'
            when classified.adi < 1.32 then 'erratic'
            when classified.cv2 < 0.49 then 'intermittent'
            else 'lumpy'
        end as demand_class,
        cast(classified.adi as double) as adi,
        cast(classified.cv2 as double) as cv2,
        classified.abc_class,
        classified.xyz_class,
        cast(round(classified.mean_daily_demand_units, 3) as decimal(18, 3)) as mean_daily_demand_units,
        coalesce(other_consumption.daily_units, 0) as other_consumption_daily_units,
        coalesce(other_consumption.is_planned, false) as is_other_consumption_planned,
        preferred_terms.supplier_id, coalesce(preferred_terms.unit_cost, products.unit_cost) as unit_cost,
        products.unit_price, products.is_active and locations.ended_date is null as is_active
    from classified
    inner join products on classified.sku = products.sku
    inner join locations on classified.location_id = locations.location_id
    left join other_consumption on classified.sku = other_consumption.sku and classified.location_id = other_consumption.location_id
    left join spans on classified.sku = spans.sku and classified.location_id = spans.location_id
    left join preferred_terms
        on classified.sku = preferred_terms.sku and classified.location_id = preferred_terms.location_id
)

select * from described
