{#
    A location has lost its sales, rather than sold nothing, where its silence is this unlikely at its own pace: one in a
    hundred thousand (11.5 = -ln 0.00001). Its pace is known from two weeks of days with sales on, and a silence shorter than
    five open days is none: a long weekend is not, however long the history. What it has paused twice before for as long is
    its habit.
#}
{% set least_surprise = 11.5 %}
{% set least_silent_days = 5 %}
{% set least_days_with_sales = 14 %}
{% set habit = 2 %}

{{ config(materialized='table') }}

with folded_movements as (
    select * from {{ ref('int_folded_movements') }}
),

daily_balances as (
    select * from {{ ref('int_daily_balances') }}
),

clocks as (
    select * from {{ ref('int_location_clocks') }}
),

closed_days as (
    select distinct country, date as day
    from {{ ref('stg_calendar_events') }}
    where event_type = 'closed'
),

sale_days as (
    select distinct folded_movements.location_id, folded_movements.day, clocks.country, clocks.as_of_date
    from folded_movements
    inner join clocks on folded_movements.location_id = clocks.location_id
    where folded_movements.movement_type = 'sale' and folded_movements.day <= clocks.as_of_date
),

histories as (
    select location_id, country, as_of_date, min(day) as first_day, count(*) as days_with_sales
    from sale_days
    group by location_id, country, as_of_date
    having count(*) >= {{ least_days_with_sales }}
),

each_open_day as (
    select days.*, {{ days_between("date '1970-01-01'", 'days.day') }} % 7 as weekday
    from (select location_id, country, {{ each_day('first_day', 'as_of_date') }} as day from histories) as days
    left join closed_days on days.country = closed_days.country and days.day = closed_days.day
    where closed_days.day is null
),

paces as (
    select
        each_open_day.location_id,
        each_open_day.weekday,
        count(*) as open_days,
        count(sale_days.day) as days_with_sales
    from each_open_day
    left join sale_days on each_open_day.location_id = sale_days.location_id and each_open_day.day = sale_days.day
    group by each_open_day.location_id, each_open_day.weekday
),

pauses as (
    select
        location_id,
        last_sale_day,
        next_sale_day,
        {{ add_days('last_sale_day', 1) }} as from_day,
        coalesce({{ add_days('next_sale_day', -1) }}, as_of_date) as until_day
    from (
        select
            location_id, as_of_date, day as last_sale_day,
            lead(day) over (partition by location_id order by day) as next_sale_day
        from sale_days
    ) as following
),

silent_days as (
    select
        pauses.*,
        each_open_day.day,
        each_open_day.weekday,
        count(*) over (partition by pauses.location_id, pauses.from_day) as silent_days,
        count(*) over (partition by pauses.location_id, pauses.from_day, each_open_day.weekday) as alike
    from pauses
    inner join each_open_day
        on pauses.location_id = each_open_day.location_id and each_open_day.day between pauses.from_day and pauses.until_day
),

-- A shelf that is empty is silent by itself: of what a location sells, only what it had counts.
stocked as (
    select
        daily_balances.location_id,
        daily_balances.day,
        sum(case when daily_balances.is_stocked_out then 0 else sellers.days_with_demand end) / sum(sellers.days_with_demand)
            as share
    from daily_balances
    inner join (
        select sku, location_id, count(*) as days_with_demand
        from daily_balances
        where demand_units > 0
        group by sku, location_id
    ) as sellers
        on daily_balances.sku = sellers.sku and daily_balances.location_id = sellers.location_id
    group by daily_balances.location_id, daily_balances.day
),

-- The pace of the other days of the same weekday, and what so many days without a sale are likely at it.
judged as (
    select
        silent_days.location_id,
        silent_days.last_sale_day,
        silent_days.next_sale_day,
        silent_days.from_day,
        silent_days.until_day,
        silent_days.silent_days,
        sum(
            -ln(1 - paces.days_with_sales / (paces.open_days - silent_days.alike + 1)) * coalesce(stocked.share, 0)
        ) as surprise
    from silent_days
    inner join paces on silent_days.location_id = paces.location_id and silent_days.weekday = paces.weekday
    left join stocked on silent_days.location_id = stocked.location_id and silent_days.day = stocked.day
    where silent_days.silent_days >= {{ least_silent_days }}
    group by
        silent_days.location_id, silent_days.last_sale_day, silent_days.next_sale_day, silent_days.from_day,
        silent_days.until_day, silent_days.silent_days
),

silences as (
    select
        judged.location_id,
        judged.last_sale_day,
        judged.from_day,
        judged.until_day,
        judged.silent_days,
        judged.next_sale_day is null as is_ongoing
    from judged
    left join judged as earlier
        on
            judged.location_id = earlier.location_id
            and judged.from_day > earlier.until_day
            and judged.silent_days <= earlier.silent_days
    where judged.surprise >= {{ least_surprise }}
    group by
        judged.location_id, judged.last_sale_day, judged.from_day, judged.until_day, judged.silent_days, judged.next_sale_day
    having count(earlier.from_day) < {{ habit }}
)

select * from silences
