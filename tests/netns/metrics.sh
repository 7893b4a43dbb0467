#!/usr/bin/env bash
# A real Prometheus scrapes the daemon, promtool finds nothing to say, and the numbers are those of the tunnel.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the metrics are rvpn's"
PATH=$PATH:$cache/prometheus/usr/bin
command -v prometheus promtool >/dev/null || skip "no prometheus: scripts/needs test gets one"

# The value of a series of wg1, found by its name and, in this order, parts of its labels: value NAME PART...
value() {
    local name=$1 lines part
    shift
    lines=$("$IMPL" metrics wg1 | grep "^$name[{ ]")
    for part; do lines=$(grep -F "$part" <<<"$lines"); done
    awk '{ print $NF }' <<<"$lines"
}
# What Prometheus knows of a query: a number, or nothing.
asked() {
    curl -sG http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1" |
        python3 -c 'import json, sys; [print(result["value"][1]) for result in json.load(sys.stdin)["data"]["result"]]'
}
is_known() { [[ -n $(asked "$1") ]]; }
is_asked() { [[ $(asked "$1") == "$2" ]]; }

export RVPN_METRICS=127.0.0.1:9586
make_keys
start_daemon wg1 "$IMPL"
RVPN_METRICS=unix:$world/wg2.metrics start_daemon wg2 "$IMPL"
unset RVPN_METRICS
move wg1 e1
move wg2 e2
configure_pair
"$IMPL" set wg1 peer "$pub2" name 'the "other" end'
up e1 wg1 1
up e2 wg2 2
endpoint wg1 "$pub2" 127.0.0.1:2
reaches_all

step "promtool has nothing to say, of the command and of HTTP"
"$IMPL" metrics wg1 --format prometheus >"$world/text"
promtool check metrics <"$world/text" >"$world/told" 2>&1 || fail "promtool: $(<"$world/told")"
expect "what promtool tells" "$(<"$world/told")" ""
curl -s http://127.0.0.1:9586/metrics | promtool check metrics
expect "the socket file's answer" "$(curl -s --unix-socket "$world/wg2.metrics" http://x/metrics | grep -c '^rvpn_peers{interface="wg2"} 1$')" 1
expect "a path that is none" "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9586/)" 404

step "the numbers are those of the tunnel"
n1 ping -n -q -i 0.01 -c 50 192.168.241.2 >/dev/null
expect "bytes received" "$(value rvpn_peer_receive_bytes_total)" "$(received_by wg1 "$pub2")"
expect "bytes sent" "$(value rvpn_peer_transmit_bytes_total)" "$(sent_by wg1 "$pub2")"
packets=$(value rvpn_peer_transmit_packets_total)
((packets >= 53 && packets <= 70)) || fail "50 pings and a handshake were $packets packets"
expect "handshakes begun" "$(value rvpn_peer_handshakes_total initiator)" 1
expect "handshakes of wg2" "$("$IMPL" metrics wg2 | sed -n 's/^rvpn_peer_handshakes_total{.*role="responder"} //p')" 1
awk -v rtt="$(value rvpn_peer_handshake_rtt_seconds)" 'BEGIN { exit !(rtt > 0 && rtt < 1) }' || fail "no round trip"
expect "the histogram's count" "$(value rvpn_handshake_rtt_seconds_count)" 1
n1 ping -q -c 1 -W 1 192.168.241.99 >/dev/null && fail "there is no such peer"
((10#$(value rvpn_dropped_packets_total no_peer) >= 1)) || fail "a packet without a peer was not counted"
n2 ip route add 192.168.242.0/24 dev wg2
wg set wg2 peer "$pub1" allowed-ips 192.168.241.1/32,fd00::1/128,192.168.242.0/24
n2 ip addr add 192.168.243.1/32 dev wg2
n2 ping -q -c 1 -W 1 -I 192.168.243.1 192.168.241.1 >/dev/null && fail "that source is not allowed"
expect "packets from a source that is not allowed" "$(value rvpn_peer_dropped_packets_total source_not_allowed)" 1
for thread in packets handshakes deadlines rvpn-uapi rvpn-apply; do
    [[ -n $(value rvpn_thread_cpu_seconds_total "thread=\"$thread\"") ]] || fail "no CPU time of thread $thread"
done
resident=$(value process_resident_memory_bytes)
expected=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/${pid_of[wg1]}/status")
((resident > expected * 9 / 10 && resident < expected * 11 / 10)) || fail "memory: $resident bytes, and ps says $expected"
expect "open files" "$(value process_open_fds)" "$(ls "/proc/${pid_of[wg1]}/fd" | wc -l | awk '{ print $1 + 1 }')"

step "Prometheus scrapes it"
cat >"$world/prometheus.yml" <<'YAML'
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: rvpn
    static_configs: [{ targets: ["127.0.0.1:9586"] }]
YAML
promtool check config "$world/prometheus.yml" >/dev/null
exec_in "" prometheus --config.file="$world/prometheus.yml" --storage.tsdb.path="$world/tsdb" \
    --web.listen-address=127.0.0.1:9090 >"$world/prometheus.log" 2>&1 9>&- </dev/null &
within 20 "Prometheus has scraped" is_known 'rvpn_build_info'
expect "up" "$(asked 'up{job="rvpn"}')" 1
within 5 "the name of the peer" is_asked 'count(rvpn_peer_receive_bytes_total{name="the \"other\" end"})' 1
within 5 "all it has received" is_asked 'rvpn_peer_receive_bytes_total' "$(received_by wg1 "$pub2")"

step "clients that say nothing keep nobody from it"
for _ in {1..30}; do
    socat -u TCP:127.0.0.1:9586 - >/dev/null 2>&1 9>&- &
done
within 3 "sixteen are open" eval '(($(ss -Htn state established sport = :9586 | wc -l) >= 16))'
wg show wg1 >/dev/null
reaches_all

step "a daemon in the background serves them, too, and an address that is taken is said so"
"$IMPL" --metrics 127.0.0.1:9587 wg5 9>&-
expect "the answer" "$(curl -s http://127.0.0.1:9587/metrics | grep -c '^rvpn_build_info{interface="wg5"')" 1
said=$("$IMPL" --metrics 127.0.0.1:9587 wg6 2>&1 9>&-) && fail "two serve metrics at one address"
expect "what it says" "$said" "rvpn: cannot serve metrics at 127.0.0.1:9587: address already in use"
[[ ! -e $(socket_of wg6) ]] || fail "the socket of wg6 is left"

step "the socket file goes with the daemon"
kill -TERM "${pid_of[wg2]}"
ends_within_a_second "${pid_of[wg2]}" SIGTERM
[[ ! -e $world/wg2.metrics ]] || fail "$world/wg2.metrics is left"
