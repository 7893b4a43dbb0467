#!/usr/bin/env bash
# Endpoints that are names: up before DNS is, follow the name, race families, fail over; asked outside the tunnel.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "only rvpn follows names"
DNSMASQ=$(PATH=$PATH:/usr/sbin command -v dnsmasq) || skip "no dnsmasq"

#  e1 (client)                                e2 (server, and name server)
#  veth1 10.0.0.1, fd00:aa::1 --------------- veth2 10.0.0.2, .22, .33, fd00:aa::2; .53: DNS
link_ends
for address in 22 33 53; do ip2 addr add "10.0.0.$address/24" dev veth2; done
echo "nameserver 10.0.0.53" >"$world/resolv.conf"
mount --bind "$world/resolv.conf" "$(realpath /etc/resolv.conf)"
make_keys
start_daemon wg2 "$PEER" e2
wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" allowed-ips 192.168.241.1/32
ip2 addr add 192.168.241.2/24 dev wg2
ip2 link set wg2 up

# What the name server says of vpn.test: it reads the file again on SIGHUP.
serve() { printf '%s vpn.test\n' "$@" >"$world/dns-hosts"; }
start_dns() {
    exec_in e2 "$DNSMASQ" --keep-in-foreground --no-resolv --no-hosts --addn-hosts="$world/dns-hosts" \
        --listen-address=10.0.0.53 --bind-interfaces --user=root --pid-file= --log-queries --log-facility=- \
        >"$world/dns.log" 2>&1 9>&- </dev/null &
    dns=$!
}
# Nothing reaches this address any more.
dead() {
    n2 nft -f - <<NFT
table ip dead {
    chain in {
        type filter hook input priority 0
        ip daddr $1 drop
    }
}
NFT
}
gap() { # the longest time without an answer, in ms, of the background ping
    grep -oE '^\[[0-9.]+\]' "$world/pings" | tr -d '[]' |
        awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { printf "%d\n", most * 1000 }'
}
start_pings() {
    exec_in e1 ping -D -n -i 0.1 192.168.241.2 >"$world/pings" 2>&1 9>&- &
    pinger=$!
    within 5 "pings are answered" grep -q 'icmp_seq=.*time=' "$world/pings"
}
is_answered_again() { (($(grep -c 'time=' "$world/pings") >= answered + 5)); }
stop_pings() {
    kill -INT "$pinger"
    wait "$pinger" || true
}
ours() { n1 "$IMPL" "$@"; }

step "the interface is up before there is a name server"
cat >"$world/wg1.conf" <<CONF
[Interface]
PrivateKey = $key1
Address = 192.168.241.1/24
[Peer]
PublicKey = $pub2
AllowedIPs = 192.168.241.2/32
Endpoint = vpn.test:2
CONF
chmod 600 "$world/wg1.conf"
before=$(now_ms)
LOG_LEVEL=verbose RVPN_USERSPACE=1 ours up "$world/wg1.conf" >"$world/wg1.log" 2>&1 9>&- </dev/null || fail "rvpn up"
took=$(($(now_ms) - before))
((took < 3000 * PATIENCE)) || fail "rvpn up waited for a name: $took ms"
expect "endpoint before there is a name server" "$(ours show wg1 endpoints)" "$pub2	(none)"
[[ $(ours show wg1 --json) == *'"vpn.test:2"'* ]] || fail "the name is not shown"

step "when the name server is there, so is the tunnel"
serve 10.0.0.2
start_dns
within 10 "the tunnel carries a ping" n1 ping -n -q -c 1 -W 1 192.168.241.2
expect "endpoint" "$(ours show wg1 endpoints)" "$pub2	10.0.0.2:2"

# Two handshakes are five seconds apart: the one that is expected must be allowed.
seconds_pass 4
step "the name points elsewhere, and the tunnel follows"
start_pings
answered=$(grep -c 'time=' "$world/pings")
serve 10.0.0.22
kill -HUP "$dns"
dead 10.0.0.2
within 8 "pings are answered again" is_answered_again
stop_pings
step "... after $(gap) ms"
expect "endpoint" "$(ours show wg1 endpoints)" "$pub2	10.0.0.22:2"
(($(gap) < 2500 * PATIENCE)) || fail "the tunnel was away for $(gap) ms"

n2 nft delete table ip dead

step "IPv6 leads nowhere, and IPv4 is used within a second"
ours set wg1 peer "$pub2" remove
serve fd00:aa::99 10.0.0.22
kill -HUP "$dns"
ours set wg1 peer "$pub2" allowed-ips 192.168.241.2/32 endpoints vpn.test:2
reaches n1 192.168.241.2
expect "endpoint" "$(ours show wg1 endpoints)" "$pub2	10.0.0.22:2"

step "the endpoint dies, and the other of the list is found"
ours set wg1 peer "$pub2" endpoints 10.0.0.22:2,10.0.0.33:2
start_pings
answered=$(grep -c 'time=' "$world/pings")
dead 10.0.0.22
within 22 "pings are answered again" is_answered_again
stop_pings
step "... after $(gap) ms"
expect "endpoint" "$(ours show wg1 endpoints)" "$pub2	10.0.0.33:2"

step "in strict order, the first is asked first"
n2 nft delete table ip dead
ours set wg1 peer "$pub2" endpoints 10.0.0.22:2,10.0.0.33:2 endpoint-order strict
# A handshake from the other side is one; ours is asked for by a new key.
ours set wg1 private-key <(echo "$key1") peer "$pub2" persistent-keepalive 1
ours set wg1 peer "$pub2" remove peer "$pub2" allowed-ips 192.168.241.2/32 endpoints 10.0.0.22:2,10.0.0.33:2 endpoint-order strict
reaches n1 192.168.241.2
expect "endpoint" "$(ours show wg1 endpoints)" "$pub2	10.0.0.22:2"

step "names are asked for outside the tunnel"
# Everything goes into the tunnel but what has the mark, and the way to the name server is no exception.
n1 ip route add default dev wg1 table 77
n1 ip rule add not fwmark 7 table 77
asked=$(grep -c 'query.*vpn.test' "$world/dns.log")
ours set wg1 fwmark 7 peer "$pub2" remove peer "$pub2" allowed-ips 0.0.0.0/0 endpoints vpn.test:2
within 5 "the name is asked for" eval "((\$(grep -c 'query.*vpn.test' '$world/dns.log') > $asked))"
within 5 "the tunnel is there" n1 ping -n -q -c 1 -W 1 192.168.241.2

step "the process for names dies: that is told, and an upgrade mends it"
network_of() { stat -Lc %i "$1"; }
names_processes() {
    local pid
    for pid in $(ps -e -o pid=,comm= | awk '$2 == "rvpn-names" { print $1 }'); do
        [[ $(network_of "/proc/$pid/ns/net" 2>/dev/null) != "$(network_of /run/netns/e1)" ]] || echo "$pid"
    done
}
[[ -n $(names_processes) ]] || fail "there is no process for names"
kill -KILL "$(names_processes)"
within 2 "the way out is told" grep -q 'no longer looked up.* until `rvpn upgrade INTERFACE`' "$world/wg1.log"
LOG_LEVEL=verbose ours upgrade wg1 >"$world/upgrade.log" 2>&1 9>&- || fail "no upgrade: $(cat "$world/upgrade.log")"
asked=$(grep -c 'query.*vpn.test' "$world/dns.log")
ours set wg1 peer "$pub2" remove peer "$pub2" allowed-ips 0.0.0.0/0 endpoints vpn.test:2
within 5 "the name is asked for" eval "((\$(grep -c 'query.*vpn.test' '$world/dns.log') > $asked))"

step "the process for names goes with its daemon"
n1 "$IMPL" down "$world/wg1.conf" >/dev/null 2>&1 || fail "rvpn down"
within 2 "no process is left" eval '[[ -z $(names_processes) ]]'
