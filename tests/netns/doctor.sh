#!/usr/bin/env bash
# Of tunnels broken on purpose, `rvpn doctor` names the true cause first, at the end where it can be known; of one that works, none.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" && is_rvpn "$PEER" || skip "the doctor is part of rvpn"

# Ten set-ups, some in more than one form; a cable between e1 and e2, daemons at its ends. Each has daemons of its own:
# what one of them saw is no evidence in the next.
link_ends
table=()

# A tunnel that would work: set_up [ENVIRONMENT of wg1's daemon...]
set_up() {
    make_keys
    start_daemon wg1 "$IMPL" e1
    start_daemon wg2 "$IMPL" e2
    configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
    up e1 wg1 1
    up e2 wg2 2
    # Sockets come a moment after the interface: until then the port is closed.
    within 2 "both ends listen" eval '[[ -n $(n1 ss -Huln sport = :1) && -n $(n2 ss -Huln sport = :2) ]]'
}

tear_down() {
    local name
    for name in wg1 wg2; do
        kill -CONT "${pid_of[$name]}" 2>/dev/null || true
        ip -n "e${name#wg}" link del "$name" 2>/dev/null || true
        ends_within_a_second "${pid_of[$name]}" "its interface is gone"
    done
}

# A packet that nobody waits for.
try() { "$1" ping -n -q -c 1 -W 0.3 "$2" >/dev/null 2>&1 || true; }

# doctor END: what it says as JSON, in $said, and with which status it ended, in $status. Words after END are its own.
doctor() {
    local end=$1 started
    shift
    started=$(now_ms)
    status=0
    said=$("n$end" "$IMPL" doctor "wg$end" --json "$@") || status=$?
    took=$(($(now_ms) - started))
}

first_cause() { sed -n 's/.*"findings":\[{"cause":"\([a-z-]*\)".*/\1/p' <<<"$said"; }

# names WHAT END CAUSE [its words...]: the doctor at END says CAUSE first, and ends with 1. Asked once more if it does not:
# initiations of both ends that cross void each other, so that neither end learns from them why no session comes about.
names() {
    local what=$1 end=$2 cause=$3 text
    shift 3
    doctor "$end" "$@"
    if [[ $(first_cause) != "$cause" ]]; then
        step "$what: at first the doctor of wg$end said $(first_cause)"
        doctor "$end" "$@"
    fi
    table+=("$(printf '%-44s %-4s %-26s %4s ms' "$what" "wg$end" "$(first_cause)" "$took")")
    [[ $(first_cause) == "$cause" && $status == 1 ]] || fail "$what: the doctor of wg$end says $said (status $status), not $cause first"
}

step "a tunnel that works has nothing wrong, at either end and before the first packet"
set_up
for end in 1 2; do
    doctor $end
    [[ $status == 0 && $said == *'"is_well":true,"findings":[]'* ]] || fail "a tunnel that works, at wg$end: $said"
done
[[ $(n1 "$IMPL" doctor wg1) == "wg1: all is well: 1 of 1 peer in session"* ]] || fail "not said for people: $(n1 "$IMPL" doctor wg1)"

step "keys, on either side"
wg set wg1 peer "$pub2" remove peer "$(wg genkey | wg pubkey)" allowed-ips 192.168.241.2/32 endpoint 10.0.0.2:2
try n1 192.168.241.2
names "another public key for us there" 2 wrong-public-key
tear_down

set_up
wg set wg2 peer "$pub1" remove peer "$(wg genkey | wg pubkey)" allowed-ips 192.168.241.1/32
try n1 192.168.241.2
names "another public key of the peer here" 2 unknown-peer
[[ $said == *"by $pub1"* ]] || fail "the unknown key is not told: $said"
tear_down

set_up
wg set wg2 peer "$pub1" preshared-key <(wg genpsk)
names "preshared keys that differ, initiator" 1 preshared-key
names "preshared keys that differ, responder" 2 preshared-key
tear_down

step "the way out and back"
set_up
endpoint wg1 "$pub2" 10.0.0.2:9
names "a port that is closed" 1 port-closed
[[ $said == *"10.0.0.2:9"* ]] || fail "the closed port is not told: $said"
tear_down

set_up
n1 nft -f - <<<'table inet wall { chain out { type filter hook output priority 0; udp dport 2 drop; }; }'
names "a packet filter here, outwards" 1 filter-outgoing
[[ $said == *"udp dport 2 drop"*"inet wall out"* ]] || fail "the rule is not told: $said"
n1 nft flush ruleset
tear_down

set_up
n1 nft -f - <<<'table inet wall { chain in { type filter hook input priority 0; udp dport 1 drop; }; }'
names "a packet filter here, inwards" 1 filter-incoming
[[ $said == *"udp dport 1 drop"*"inet wall in"* ]] || fail "the rule is not told: $said"
n1 nft flush ruleset
tear_down

set_up
n2 nft -f - <<<'table inet wall { chain in { type filter hook input priority 0; policy drop; icmp type echo-request accept; }; }'
try n1 192.168.241.2
names "a packet filter there, asked there" 2 filter-incoming
n2 nft flush ruleset
tear_down

set_up
wg set wg1 fwmark 0x51
ip1 route add default dev wg1 table 51
ip1 rule add not fwmark 0x51 table 51
n1 sysctl -q -w net.ipv4.conf.all.rp_filter=1
names "everything into the tunnel, strict filter" 1 reverse-path-outside
n1 sysctl -q -w net.ipv4.conf.all.rp_filter=0
ip1 rule del not fwmark 0x51 table 51
tear_down

set_up
kill -STOP "${pid_of[wg2]}"
names "a peer that is dead" 1 nothing-comes-back
tear_down

step "names"
set_up
wg set wg1 peer "$pub2" remove peer "$pub2" allowed-ips 192.168.241.2/32
cat >"$world/named.conf" <<CONF
[Peer]
PublicKey = $pub2
AllowedIPs = 192.168.241.2/32
Endpoint = nowhere.invalid:2
CONF
names "a name that does not exist" 1 name-not-resolved --config "$world/named.conf"
[[ $said == *"nowhere.invalid:2"* ]] || fail "the name is not told: $said"
n1 "$IMPL" set wg1 peer "$pub2" endpoints followed.invalid:2
names "a name that does not exist, followed" 1 name-not-resolved
[[ $said == *"followed.invalid:2"* ]] || fail "the name is not told: $said"
tear_down

step "addresses and routes"
set_up
wg set wg1 peer "$pub2" allowed-ips 192.168.241.3/32
try n1 192.168.241.2
names "allowed IPs here lack the destination" 1 allowed-ips-here
tear_down

set_up
wg set wg2 peer "$pub1" allowed-ips 192.168.241.9/32
try n1 192.168.241.2
names "allowed IPs there lack our address, here" 1 only-keepalives
names "allowed IPs there lack our address, there" 2 allowed-ips-of-peer
tear_down

set_up
reaches n1 192.168.241.2
ip1 route del 192.168.241.0/24 dev wg1
names "no route into the tunnel" 1 route-missing
tear_down

step "long packets"
set_up
reaches n1 192.168.241.2
n2 nft -f - <<<'table ip narrow { chain in { type filter hook prerouting priority -500; udp dport 2 ip length > 1360 drop; }; }'
names "long packets are lost on the way" 1 mtu-hole
# 1360 less IPv4, UDP, transport header and tag: 1300, padded to 16 bytes: 1296.
[[ $said == *"longer than 1296 bytes"* ]] || fail "the hole has another size: $said"
n2 nft flush ruleset
tear_down

step "a clock in the past"
cc -shared -fPIC -o "$world/past.so" "$here/past.c" -ldl
set_up
reaches n1 192.168.241.2
ip1 link del wg1
ends_within_a_second "${pid_of[wg1]}" "its interface is gone"
# The machine starts again, and its clock has no battery.
LD_PRELOAD=$world/past.so start_daemon wg1 "$IMPL" e1
wg set wg1 private-key <(echo "$key1") listen-port 1 \
    peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32 endpoint 10.0.0.2:2
up e1 wg1 1
try n1 192.168.241.2
names "the peer's clock is 400 days behind" 2 peer-clock-in-the-past
LD_PRELOAD=$world/past.so names "our clock is 400 days behind" 1 clock-in-the-past
tear_down

step "what was broken, where it was asked, and what was said first:"
printf '    %s\n' "${table[@]}"
