#!/usr/bin/env bash
# Start a real PostgreSQL, a real Apache Kafka broker (KRaft) and a real S3 server on loopback, run the tests that need
# them, stop them.
# What is missing is installed from Debian's packages and the Maven registry; what cannot start is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)

stop() {
  local process
  # PostgreSQL drops its own file as it ends; whoever restarted a server in a test left its new number there.
  for process in $(head -qn 1 "$work"/*.pid "$work"/postgresql/cluster/postmaster.pid 2>/dev/null); do
    kill "$process" 2>/dev/null || true
    for _ in $(seq 60); do kill -0 "$process" 2>/dev/null || break; sleep 0.5; done
  done
  rm -rf "$work"
}
trap stop EXIT

launch() { # name, command: written down as a script, so that a test can start the server again
  local name=$1 script="$work/$1.sh"
  shift
  printf '#!/usr/bin/env bash\necho $$ >%q\nexec %s >>%q 2>&1\n' "$work/$name.pid" "${*@Q}" "$work/$name.log" >"$script"
  chmod +x "$script"
  "$script" &
}

fail() { echo "test-services: $1" >&2; [ -f "${2:-}" ] && tail -n 30 "$2" >&2; exit 1; }

free_port() { .venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

need() { # program, Debian package
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || fail "$1 is missing: install the Debian package $2"
  apt-get update -qq && apt-get install -y -qq "$2" >/dev/null || fail "the Debian package $2 cannot be installed"
}

start_postgresql() {
  local bin data="$work/postgresql" port user=()
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1) || true
  if [ -z "$bin" ]; then
    need postgres postgresql
    bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
  fi
  port=$(free_port)
  mkdir "$data"
  # PostgreSQL refuses to run as root.
  if [ "$(id -u)" = 0 ]; then
    user=(runuser -u postgres --)
    chmod 755 "$work"
    chown postgres "$data"
  fi
  "${user[@]}" "$bin/initdb" -D "$data/cluster" -U tester -A trust >"$work/initdb.log" 2>&1 || fail "initdb failed" "$work/initdb.log"
  launch postgresql "${user[@]}" "$bin/postgres" -D "$data/cluster" -h 127.0.0.1 -p "$port" -k "$data"
  export POSTGRES_SERVER="$work/postgresql.sh" POSTGRES_PID_FILE="$data/cluster/postmaster.pid"
  for _ in $(seq 60); do "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break; sleep 0.5; done
  "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" || fail "PostgreSQL does not answer" "$work/postgresql.log"
  export POSTGRES_URL="postgresql://tester@127.0.0.1:$port/postgres"
  echo "PostgreSQL $("$bin/postgres" --version | awk '{print $3}') on port $port"
}

bring_jars() { # folder of infra/ with a pom.xml, version
  need java default-jre-headless
  need mvn maven
  jars="${XDG_CACHE_HOME:-$HOME/.cache}/inventorybot/$1-$2"
  [ -f "$jars/complete" ] && return
  mvn -q -B -f "infra/$1/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars" >"$work/maven.log" 2>&1 ||
    fail "Maven cannot bring $1 $2" "$work/maven.log"
  touch "$jars/complete"
}

start_kafka() {
  [ -n "${KAFKA_BOOTSTRAP:-}" ] && { echo "Kafka at $KAFKA_BOOTSTRAP"; return; }
  local jars port controller
  bring_jars kafka 3.9.1
  port=$(free_port)
  controller=$(free_port)
  cat >"$work/kafka.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$work/kafka
num.partitions=4
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
  java -cp "$jars/*" kafka.tools.StorageTool format -t AAAAAAAAQACAAAAAAAAAAQ -c "$work/kafka.properties" >"$work/kafka.log" 2>&1 ||
    fail "the broker's storage cannot be formatted" "$work/kafka.log"
  launch kafka java -Xmx512m -cp "$jars/*" kafka.Kafka "$work/kafka.properties"
  export KAFKA_SERVER="$work/kafka.sh" KAFKA_PID_FILE="$work/kafka.pid"
  export KAFKA_BOOTSTRAP="127.0.0.1:$port"
  .venv/bin/python - <<'PYTHON' || fail "the broker does not answer" "$work/kafka.log"
import os
from confluent_kafka.admin import AdminClient

AdminClient({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "log_level": 0}).list_topics(timeout=60)
PYTHON
  echo "Apache Kafka 3.9.1 (KRaft) on port $port"
}

start_s3() {
  [ -n "${S3_ENDPOINT:-}" ] && { echo "S3 at $S3_ENDPOINT"; return; }
  local jars port
  bring_jars s3 2.6.0
  port=$(free_port)
  mkdir "$work/s3"
  cat >"$work/s3.properties" <<PROPERTIES
s3proxy.endpoint=http://127.0.0.1:$port
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity=tester
s3proxy.credential=secret-of-tester
s3proxy.ignore-unknown-headers=true
jclouds.provider=filesystem-nio2
jclouds.identity=unused
jclouds.credential=unused
jclouds.filesystem.basedir=$work/s3
PROPERTIES
  echo '<configuration><root level="WARN"/></configuration>' >"$work/logback.xml"
  launch s3 java -Xmx256m -Dlogback.configurationFile="$work/logback.xml" -cp "$jars/*" org.gaul.s3proxy.Main --properties "$work/s3.properties"
  for _ in $(seq 60); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.5; done
  (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail "the S3 server does not answer" "$work/s3.log"
  export S3_ENDPOINT="http://127.0.0.1:$port"
  echo "S3Proxy 2.6.0 (files behind the S3 protocol) on port $port"
}

start_postgresql
start_kafka
start_s3
.venv/bin/pytest -m services
.venv/bin/pytest tests/test_stream_consumer.py tests/test_ingest_landing.py
