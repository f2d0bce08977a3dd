"""The command `stream`: stock movements from Kafka into the online store."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from orchestration.cli.home import errors_shown, open_store
from orchestration.cli.options import FormerOptions
from orchestration.home.settings import Settings

_SCHEMA_FILE = "movement_schema.json"


@click.command(cls=FormerOptions, former={"--door": "--channel", "--go-on-at": "--continue-at"})
@click.option("--bootstrap-servers", required=True, metavar="HOST:PORT,...", help="Brokers of the Kafka cluster.")
@click.option(
    "--topic", "topics", multiple=True, required=True, help="Topic to read; repeat the option for more topics."
)
@click.option("--group-id", default="inventorybot", show_default=True, help="Consumer group in Kafka.")
@click.option(
    "--channel",
    default="stream",
    show_default=True,
    help="Name under which offsets and quarantined messages are stored.",
)
@click.option(
    "--batch-messages", type=click.IntRange(1), default=1_000, show_default=True, help="Messages in one transaction."
)
@click.option(
    "--client-settings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with settings of librdkafka, such as TLS and SASL; default: none.",
)
@click.option(
    "--continue-at",
    "positions",
    multiple=True,
    metavar="TOPIC/PARTITION@OFFSET",
    help="Continue at this offset, also backwards, after lost messages or a new topic; repeat for more partitions.",
)
@click.option(
    "--connect-seconds",
    type=click.FloatRange(0.1),
    default=15.0,
    show_default=True,
    help="Seconds to wait for the brokers.",
)
@click.option(
    "--report-seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds between two reports of rate and lag.",
)
def stream(
    bootstrap_servers: str,
    topics: tuple[str, ...],
    group_id: str,
    channel: str,
    batch_messages: int,
    client_settings: Path | None,
    positions: tuple[str, ...],
    connect_seconds: float,
    report_seconds: float,
) -> None:
    """Read stock movements from Kafka into the online store. Each exactly once, until Ctrl-C or SIGTERM."""
    from orchestration.home.prepare import make_store
    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import movement_json_schema

    with errors_shown() as settings:
        settings.home.mkdir(parents=True, exist_ok=True)
        make_store(settings)
        _continue_at(settings, channel, positions)
        schema = settings.home / _SCHEMA_FILE
        beside = schema.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(movement_json_schema(load_contract()), indent=2), encoding="utf-8")
        beside.replace(schema)
    # By the environment, not as an argument: an address may hold a password, and arguments are seen by everyone.
    os.execve(
        sys.executable,
        [
            *(sys.executable, "-m", "serving", "stream"),
            *("--store-url-variable", "INVENTORYBOT_STORE_URL", "--schema", str(schema)),
            *("--bootstrap-servers", bootstrap_servers, "--group-id", group_id, "--channel", channel),
            *("--batch-messages", str(batch_messages), "--report-seconds", str(report_seconds)),
            *("--connect-seconds", str(connect_seconds)),
            *(["--client-settings", str(client_settings)] if client_settings else []),
            *(argument for topic in topics for argument in ("--topic", topic)),
        ],
        os.environ | {"INVENTORYBOT_STORE_URL": settings.store_url},
    )


def _continue_at(settings: Settings, channel: str, positions: Sequence[str]) -> None:
    """Set the offset at which each partition continues; refuses all where one is not a position."""
    found = [re.fullmatch(r"(?P<topic>[\w.-]+)/(?P<partition>\d+)@(?P<offset>\d+)", text) for text in positions]
    wrong = [text for text, match in zip(positions, found, strict=True) if match is None]
    if wrong:
        raise click.UsageError(
            f"--continue-at {wrong[0]!r} is not a position: write TOPIC/PARTITION@OFFSET, as in sales/0@17"
        )
    with open_store(settings) as store:
        for match in filter(None, found):
            topic, partition, offset = match["topic"], int(match["partition"]), int(match["offset"])
            before = store.offsets(channel).get((topic, partition), "the beginning")
            store.reset_offset(channel, topic, partition, offset)
            click.echo(f"{topic}/{partition} continues at offset {offset} (before: {before})")
