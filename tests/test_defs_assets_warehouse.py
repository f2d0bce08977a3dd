"""The dbt layers as assets: what is said of tables that stand."""

import json

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, AssetMaterialization

from orchestration.defs.assets.warehouse import said, said_again


def test_a_test_of_a_table_that_stands_says_again_what_it_said() -> None:
    warning = AssetCheckResult(
        asset_key=AssetKey(["marts", "fct_stock_movements"]),
        check_name="movements_name_their_transfers",
        passed=False,
        severity=AssetCheckSeverity.WARN,
        metadata={"dagster_dbt/failed_row_count": 3, "status": "warn"},
    )
    kept = json.loads(json.dumps(said([AssetMaterialization("marts"), warning])))
    assert list(said_again(kept)) == [warning]
