#!/usr/bin/env bash
# Captures are what tshark reads: packets in the tunnel, datagrams around it one by one, and what the keys open.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "rvpn captures its own interfaces"
command -v tshark >/dev/null || skip "no tshark: scripts/needs test"

# Captures in the background: capture NAMESPACE FILE ARGUMENTS...; the file is there when it listens.
capture() {
    exec_in "$1" timeout $((30 * PATIENCE)) "$IMPL" capture "${@:3}" wg1 "$2" >"$world/capture.log" 2>&1 9>&- </dev/null &
    capturing=$!
    within 3 "the capture has begun" test -s "$2"
}

# The capture ends by itself, when it has counted enough.
captured() {
    within 20 "the capture ends: $1" eval "! alive $capturing"
    wait "$capturing" || fail "the capture failed: $(<"$world/capture.log")"
}

# Packets in file $1 that pass the display filter $2, as the fields $3...
shown() {
    local file=$1 filter=$2
    shift 2
    tshark -r "$file" -Y "$filter" -T fields "${@/#/-e}" 2>"$world/tshark.log" || fail "tshark: $(<"$world/tshark.log")"
}
count() { shown "$1" "$2" frame.number | wc -l; }

build_tunnel
step "the inside: pings as they were sent"
capture e1 "$world/inner.pcapng" --count 8
n1 ping -n -q -c 4 -i 0.2 192.168.241.2 >/dev/null
captured "of pings"
expect "pings inside" "$(count "$world/inner.pcapng" 'icmp.type == 8 && ip.dst == 192.168.241.2 && frame.interface_name == "wg1"')" 4
expect "answers inside" "$(count "$world/inner.pcapng" 'icmp.type == 0 && ip.src == 192.168.241.2')" 4
expect "mode of the file" "$(stat -c %a "$world/inner.pcapng")" 600

step "the outside: without keys nothing can be read"
capture "" "$world/outer.pcapng" --outer --count 6
n1 ping -n -q -c 3 -i 0.2 192.168.241.2 >/dev/null
captured "of datagrams"
expect "data messages" "$(count "$world/outer.pcapng" 'wg.type == 4 && udp.port == 1')" 6
expect "what can be read" "$(count "$world/outer.pcapng" icmp)" 0
refuse "a key in a capture without keys" grep -qa PRIVATE_KEY "$world/outer.pcapng"

step "with keys: handshakes of either end, and all that follows"
for initiator in 1 2; do
    # A new session, begun by this end.
    ip1 link set wg1 down
    ip2 link set wg2 down
    capture "" "$world/keys$initiator.pcapng" --outer --keys --count 9
    grep -q 'private key' "$world/capture.log" || fail "no warning about keys"
    up_again=$((3 - initiator))
    ip -n e$up_again link set wg$up_again up
    ip -n e$initiator link set wg$initiator up
    "n$initiator" ping -n -q -c 3 -i 0.2 192.168.241.$up_again >/dev/null || true
    "n$initiator" ping -n -q -c 3 -i 0.2 192.168.241.$up_again >/dev/null
    captured "with keys"
    file=$world/keys$initiator.pcapng
    expect "secrets of WireGuard" "$(tshark -r "$file" 2>/dev/null | grep -c 'Handshake')" 2
    (($(count "$file" 'wg.type == 4 && icmp') >= 4)) ||
        fail "initiator wg$initiator: pings that can be read: $(count "$file" 'wg.type == 4 && icmp'), of $(count "$file" 'wg.type == 4')"
    step "initiated by wg$initiator: $(count "$file" 'wg.type == 4 && icmp') pings can be read"
done

step "a stream's trains are shown datagram by datagram"
ip1 addr replace fd00::1/112 dev wg1 nodad
capture "" "$world/train.pcapng" --outer --count 250
transfer TCP4 n2 n1 192.168.241.2 400000
captured "of a stream"
longest=$(shown "$world/train.pcapng" 'wg.type == 4' ip.len | sort -n | tail -n 1)
((longest <= 1500)) || fail "a datagram of $longest bytes"
expect "what is no message" "$(count "$world/train.pcapng" '!wg')" 0
expect "wrong checksums of headers" "$(tshark -r "$world/train.pcapng" -o ip.check_checksum:TRUE -Y 'ip.checksum.status == 0' 2>/dev/null | wc -l)" 0

step "to standard output, and what cannot be captured"
"$IMPL" capture --outer --count 1 wg1 - 2>/dev/null 9>&- | tshark -r - -c 1 2>/dev/null >"$world/stdout" &
within 3 "one goes by" eval "n1 ping -n -q -c 1 -W 0.2 192.168.241.2; [[ -s '$world/stdout' ]]"
refuse "an interface that is elsewhere" "$IMPL" capture --count 1 wg1 /dev/null
refuse "one that is nowhere" "$IMPL" capture --outer --count 1 wg9 /dev/null
refuse "keys for the inside" "$IMPL" capture --inner --keys --count 1 wg1 /dev/null
message=$(n1 setpriv --bounding-set=-all --inh-caps=-all "$IMPL" capture --count 1 wg1 /dev/null 2>&1) && fail "without a right to"
[[ $message == *CAP_NET_RAW* ]] || fail "the message does not help: $message"
