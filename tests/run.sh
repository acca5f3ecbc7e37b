#!/usr/bin/env bash
# Runs every test against a real Kafka. Arguments go to `cargo test`: `tests/run.sh --test kafka_source`.
#
# The broker: DRIFTLINE_TEST_KAFKA=host:port if it is set; else Docker Compose, if an engine answers; else
# Maven and Java (17 or newer). Without one of these the tests fail; nothing is skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
project=driftline-test-$$
compose=()
started=

tidy_up() {
    local status=$?
    case $started in
    java) tests/kafka/broker.sh stop "$work/kafka" ;;
    compose) "${compose[@]}" -p "$project" down -v >/dev/null 2>&1 || true ;;
    esac
    rm -rf "$work"
    exit "$status"
}
trap tidy_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Finds a Compose that has an engine behind it.
find_compose() {
    docker info >/dev/null 2>&1 || return 1
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        return 1
    fi
}

start_with_compose() {
    # Kafka tells clients its own address, so the port must be known beforehand.
    export KAFKA_PORT=$((20000 + RANDOM % 12000))
    started=compose
    "${compose[@]}" -p "$project" up -d kafka >&2
    for _ in $(seq 1 90); do
        if "${compose[@]}" -p "$project" exec -T kafka /opt/kafka/bin/kafka-broker-api-versions.sh \
            --bootstrap-server localhost:19092 >/dev/null 2>&1; then
            export DRIFTLINE_TEST_KAFKA=localhost:$KAFKA_PORT
            return
        fi
        sleep 1
    done
    echo "tests/run.sh: Kafka did not answer in its container within 90 s" >&2
    "${compose[@]}" -p "$project" logs --tail 40 kafka >&2 || true
    exit 1
}

start_with_java() {
    started=java
    DRIFTLINE_TEST_KAFKA=$(tests/kafka/broker.sh start "$work/kafka") || {
        echo "tests/run.sh: no broker. Set DRIFTLINE_TEST_KAFKA=host:port, or install Docker with Compose," \
            "or Maven and Java 17" >&2
        exit 1
    }
    export DRIFTLINE_TEST_KAFKA
}

if [ -n "${DRIFTLINE_TEST_KAFKA:-}" ]; then
    echo "Kafka: $DRIFTLINE_TEST_KAFKA (given)"
elif find_compose; then
    start_with_compose
    echo "Kafka: $DRIFTLINE_TEST_KAFKA (${compose[*]})"
else
    start_with_java
    echo "Kafka: $DRIFTLINE_TEST_KAFKA (Java)"
fi

status=0
cargo test --locked "$@" 2>&1 | tee "$work/tests.log" || status=$?

echo
echo "What the test runner said at the end:"
grep -E '^(test result|error|failures:|    [a-z_:]+$|     Running|   Doc-tests)' "$work/tests.log" | tail -60 || true
exit "$status"
