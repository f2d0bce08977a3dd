"""What `inventorybot serve` and `inventorybot stream` start: the endpoint, or the consumer, in a process of its own."""

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve a published folder over HTTP.")
    parser.add_argument("--published", type=Path, required=True, help="folder of generations, <home>/published")
    registry = os.environ.get("MLFLOW_TRACKING_URI")
    about = "MLflow registry, sqlite:////<home>/mlflow/mlflow.db (default: MLFLOW_TRACKING_URI)"
    parser.add_argument("--tracking-uri", default=registry, required=registry is None, help=about)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
    parser.add_argument("--max-body-bytes", type=int, default=16 * 1024 * 1024, help="largest invocation (16 MiB)")
    given = parser.parse_args(arguments)

    # Before xgboost is loaded: its threads cost a small prediction 49 ms instead of 4, and requests run side by side.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import uvicorn

    from serving.api.app import Settings, create_app

    settings = Settings(
        given.published,
        given.tracking_uri,
        max_body_bytes=given.max_body_bytes,
        preloaded=("demand_forecast",),
    )
    uvicorn.run(create_app(settings), host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    if sys.argv[1:2] == ["stream"]:
        from serving.stream.command import main as consume

        sys.exit(consume(sys.argv[2:]))
    main()
