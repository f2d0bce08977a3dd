"""librdkafka's own broker, in a process of its own: Kafka's protocol without a server."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REBALANCE_DELAY_MS = 50
"""What a new group waits for further members; the broker's own 3 s would be most of the time of a test."""


@contextmanager
def mock_broker() -> Iterator[str]:
    """Start a broker that makes topics of 4 partitions by itself; yield its address."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Run the broker until the standard input ends; the delay can be set through the library alone."""
    import confluent_kafka

    places = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka*/**/librdkafka*")
    library = ctypes.CDLL(str(next(places)))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    client = ctypes.c_void_p(library.rd_kafka_new(0, configuration, ctypes.create_string_buffer(512), 512))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, REBALANCE_DELAY_MS)
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
