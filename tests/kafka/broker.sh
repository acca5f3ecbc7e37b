#!/usr/bin/env bash
# A real Apache Kafka of one node, without Docker: Maven fetches the jars once, Java runs them.
#
#   broker.sh start DIR   starts a broker that keeps its files in DIR (new or empty), prints its address
#   broker.sh stop DIR    stops it and waits until it has gone
#
# Jars are kept in ${DRIFTLINE_KAFKA_CACHE:-${XDG_CACHE_HOME:-~/.cache}/driftline-kafka}. The broker listens
# on 127.0.0.1 only, on two ports that were free.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster_id=ZHJpZnRsaW5lLXRlc3QtMQ
java_options=(-Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -Dlog4j2.level=WARN)

fail() {
    echo "broker.sh: $*" >&2
    exit 1
}

# Prints the folder of the jars, after fetching them if need be.
jars() {
    local version cache libs fresh
    version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")
    cache=${DRIFTLINE_KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/driftline-kafka}
    libs=$cache/$version
    if [ ! -d "$libs" ]; then
        command -v mvn >/dev/null || fail "Maven (mvn) is missing: it fetches Kafka $version once"
        mkdir -p "$cache"
        # A folder of the final name is always complete: it is renamed into place.
        fresh=$(mktemp -d "$cache/fetch.XXXXXX")
        echo "broker.sh: fetching Kafka $version to $libs" >&2
        if ! mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$fresh" >&2; then
            rm -rf "$fresh"
            fail "Maven could not fetch Kafka $version"
        fi
        mv -T "$fresh" "$libs" 2>/dev/null || rm -rf "$fresh"
    fi
    echo "$libs"
}

# Whether something listens on a port of this machine.
is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Prints a port such that it and the next one are free.
free_ports() {
    local port
    for _ in $(seq 1 100); do
        # Below the range that systems give to outgoing connections.
        port=$((20000 + 2 * (RANDOM % 6000)))
        if ! is_taken "$port" && ! is_taken $((port + 1)); then
            echo "$port"
            return
        fi
    done
    fail "no two free ports in a row between 20000 and 32000"
}

write_properties() {
    local dir=$1 port=$2
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=2097152
log.segment.bytes=16777216
num.network.threads=2
num.io.threads=2
background.threads=2
PROPERTIES
}

start() {
    local dir=$1 libs port pid
    command -v java >/dev/null || fail "Java (17 or newer) is missing: it runs Kafka"
    [ ! -e "$dir/pid" ] || fail "$dir belongs to a broker already; two on one folder would damage it"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    libs=$(jars)
    port=$(free_ports)
    write_properties "$dir" "$port"
    java "${java_options[@]}" -cp "$libs/*" kafka.tools.StorageTool format \
        -t "$cluster_id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
        { cat "$dir/format.log" >&2; fail "the broker's folder could not be formatted"; }
    # A session of its own: a Ctrl-C at the terminal stops the tests first and the broker after them.
    setsid java "${java_options[@]}" -cp "$libs/*" kafka.Kafka "$dir/server.properties" \
        >"$dir/broker.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$dir/pid"
    for _ in $(seq 1 240); do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -40 "$dir/broker.log" >&2
            rm -f "$dir/pid"
            fail "the broker ended while it started"
        fi
        if is_taken "$port"; then
            echo "127.0.0.1:$port"
            return
        fi
        sleep 0.25
    done
    stop "$dir"
    fail "the broker did not answer within 60 s"
}

stop() {
    local dir=$1 pid
    [ -e "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 1 60); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
    done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$dir/pid"
}

case "${1:-} ${2:+dir}" in
"start dir") start "$2" ;;
"stop dir") stop "$2" ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
