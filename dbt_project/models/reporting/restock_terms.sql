{{ config(materialized='view', contract={'enforced': false}) }}

select * from {{ ref('restock_order_steps') }}
