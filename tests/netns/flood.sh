#!/usr/bin/env bash
# A flood of 10,000 genuine initiations a second from 65,536 spoofed sources costs an established peer less than 1 %.
#
# Meanwhile a new peer comes in within three attempts, memory grows by less than 32 MiB, no reply is longer than what it
# answers, and two seconds later all is as before. First the flood comes evenly: each message costs the device a
# Diffie-Hellman. Then it comes in bursts of 1,000, which put the device under load: each costs a cookie reply. 8 s are
# 80,000 messages; LONG=1: 20 s and 200,000.
#
#     namespace e3                    the middle
#     flood, 10.1.0.0/16 --- veth --- 10.0.3.1, daemon wg1 : 1  <--- wg2 (e2), which sends data; wg3, wg4, which are new
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the figures are rvpn's"

flood=${CARGO_TARGET_DIR:-$root/target}/release/examples/flood
[[ -x $flood ]] || fail "no $flood: run 'cargo build --release --examples'"
# The bursts last for two attempts of a new peer, or for three.
even=1 bursts=7
((LONG == 0)) || even=8 bursts=12
seconds=$((even + bursts))
rate=10000

build_tunnel
ip netns add e3
ip -n e3 link set lo up
ip link add flood1 type veth peer name flood2 netns e3
ip addr add 10.0.3.1/24 dev flood1
ip link set flood1 up
ip -n e3 addr add 10.0.3.2/24 dev flood2
ip -n e3 link set flood2 up
ip -n e3 route add local 10.1.0.0/16 dev lo
ip route add 10.1.0.0/16 via 10.0.3.2
n3() { nsenter --net=/run/netns/e3 -- "$@"; }
on_the_cable n3 10.0.3.1
reaches_all

# A device that has to shake hands with wg1 by itself, from now on: newcomer NAME ADDRESS
newcomer() {
    local key
    key=$(wg genkey)
    start_daemon "$1"
    wg set wg1 peer "$(wg pubkey <<<"$key")" allowed-ips "$2/32"
    wg set "$1" private-key <(echo "$key") peer "$pub1" endpoint 127.0.0.1:1 allowed-ips 192.168.241.1/32 \
        persistent-keepalive 25
}
has_shaken() { [[ $(handshake_of "$1" "$pub1") -gt 0 ]]; }
attempts_of() { grep -c "Sending handshake initiation" "$world/$1.log" || true; }
cookies_of() { grep -c "Receiving cookie reply" "$world/$1.log" || true; }
replies_so_far() { n3 awk '$1 == "flood2:" { print $3 }' /proc/net/dev; }
memory_of() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/${pid_of[$1]}/status"; }

newcomer wg3 192.168.241.3
newcomer wg4 192.168.241.4

step "a warm-up without flood"
numbered n1 n2 192.168.241.1 2000 1200 1 >/dev/null
before=$(memory_of wg1 VmRSS)

step "$((rate * seconds)) initiations in $seconds s, and 20 Mbit/s of data"
numbered n1 n2 192.168.241.1 2000 1200 "$seconds" >"$world/data" &
data=$!
(
    n3 "$flood" "$pub1" 10.0.3.1:1 10.1.0.0 "$rate" 10 "$even" >"$world/even"
    n3 "$flood" "$pub1" 10.0.3.1:1 10.1.0.0 "$rate" 1000 "$bursts" >"$world/bursts"
) &
flooding=$!
# Replies by the thousand are cookies: the new peer is refused, gets one too, and comes in with it 5 s later.
within "$seconds" "the device is under load" eval '(($(replies_so_far) > 1000))'
ip link set wg3 up
within "$bursts" "the new peer comes in" has_shaken wg3
alive "$flooding" || fail "the new peer came in only after the flood"
wait "$flooding" || fail "the flood failed"
ended=$(now_ms)
wait "$data" || fail "the stream of data failed"

read -r total arrived _ p99 longest_way <"$world/data"
lost=$((total - arrived))
for part in even bursts; do
    due=$((rate * ${!part}))
    read -r sent refused replies cookies longest took <"$world/$part"
    step "$part: $sent sent in $took s, $refused refused by the flooder's own network, $replies replies, $cookies cookies"
    ((sent * 100 > due * 99)) || fail "only $sent of $due messages were sent"
    ((longest <= 148)) || fail "a reply of $longest bytes to a message of 148"
    ((replies <= sent)) || fail "$replies replies to $sent messages"
done
((cookies > 0)) || fail "the bursts were not met with cookies"
grown=$(($(memory_of wg1 VmHWM) - before))
step "data: $lost of $total packets lost, p99 $p99 ms, longest $longest_way ms; memory: $grown KiB more at most"
((lost * 100 < total)) || fail "$lost of $total packets of the established peer were lost"
((grown < 32 * 1024)) || fail "memory grew by $grown KiB"
step "a new peer came in at attempt $(attempts_of wg3), with $(cookies_of wg3) cookies"
(($(cookies_of wg3) > 0)) || fail "it was not refused: the device was not under load"
(($(attempts_of wg3) <= 3)) || fail "the newcomer took $(attempts_of wg3) attempts"

step "two seconds later all is as before"
within 3 "two seconds are over" eval '(($(now_ms) >= ended + 2000))'
ip link set wg4 up
within 1 "another newcomer comes in at once" has_shaken wg4
expect "cookies it needed" "$(cookies_of wg4)" 0
start_pinging e2 192.168.241.1
stop_pinging "after the flood"
