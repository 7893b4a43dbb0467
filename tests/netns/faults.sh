#!/usr/bin/env bash
# What the system refuses for a while, it costs for as long: sends, files, memory; the daemon goes on, or ends with a message.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the promises are rvpn's"

# --- sends -----------------------------------------------------------------------------------------------------------

link_ends
make_keys
start_daemon wg1 "$IMPL" e1
start_daemon wg2 "$IMPL" e2
configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
up e1 wg1 1
up e2 wg2 2
reaches_all

silent() { refuse "a ping passed although $1" n1 ping -n -q -c 1 -W 0.2 192.168.241.2; }
# Within SECONDS all is well again, in the same process.
well_again() {
    within "$1" "a ping passes after $2" n1 ping -n -q -c 1 -W 0.5 192.168.241.2
    alive "${pid_of[wg1]}" || fail "the daemon did not survive $2"
}
says() { grep -q "$2" "$world/$1.log"; }

step "EPERM: a firewall on our own side"
n1 nft -f - <<<'table inet wall { chain out { type filter hook output priority 0; udp dport 2 drop; }; }'
silent "the firewall drops it"
says wg1 "Operation not permitted" || fail "the reason is not in the log"
n1 nft delete table inet wall
well_again 1 "a firewall"

step "ENETUNREACH: no route, no address"
ip1 addr del 10.0.0.1/24 dev veth1
silent "there is no route"
says wg1 "Network is unreachable" || fail "the reason is not in the log"
ip1 addr add 10.0.0.1/24 dev veth1
well_again 2 "the loss of the route"

step "EHOSTUNREACH: a route that says so"
ip1 route add unreachable 10.0.0.2/32
silent "the route refuses"
ip1 route del unreachable 10.0.0.2/32
well_again 2 "a refusing route"

step "the way out is down"
ip1 link set veth1 down
silent "the interface is down"
ip1 link set veth1 up
well_again 4 "an interface that was down"

step "EMSGSIZE: a way narrower than the packets"
ip1 route add 10.0.0.2/32 dev veth1 mtu 1300
rate=$(stream n2 n1 192.168.241.2 1)
step "over MTU 1300: $rate Mbit/s, in fragments"
((${rate%.*} > 0)) || fail "no data over a narrow way"
refuse "one narrow path ended segmented sends for all" says wg1 "refused a segmented send"
ip1 route del 10.0.0.2/32 dev veth1

step "ECONNREFUSED: nobody listens at the peer"
kill -TERM "${pid_of[wg2]}"
ends_within_a_second "${pid_of[wg2]}" SIGTERM
silent "the peer is gone"
start_daemon wg2 "$IMPL" e2
configure_pair wg1 wg2 1 2
up e2 wg2 2
endpoint wg2 "$pub1" 10.0.0.1:1
# Our end would notice after 15 s; the peer, which has no session, asks for one at once.
reaches n2 192.168.241.1
well_again 1 "the peer's absence"

# Without its lock on a port, which one that the kernel chose does not have, a socket leaves as another one.
for port in 1 0; do
    wg set wg1 listen-port "$port"
    well_again 1 "a change of the port"
    step "the sockets on port $(wg show wg1 listen-port) are destroyed by an administrator"
    destroyed=$(n1 ss -HKuan "sport = :$(wg show wg1 listen-port)" 2>/dev/null) || true
    [[ -n $destroyed ]] || step "   (this kernel cannot)"
    well_again 2 "the destruction of its sockets"
done
wg set wg1 listen-port 1

# --- files -----------------------------------------------------------------------------------------------------------

step "no more files: clients wait, a port cannot change, and nothing else happens"
pid=${pid_of[wg1]}
# The limit is one of numbers: this is the lowest that is not in use.
open=0
while [[ -e /proc/$pid/fd/$open ]]; do open=$((open + 1)); done
soft=$(prlimit --pid "$pid" --nofile --output SOFT --noheadings)
start_pinging e1 192.168.241.2
# One more, so that a request still comes in.
prlimit --pid "$pid" --nofile="$((open + 1)):"
# The connection has the last file, and the port wants two.
refuse "a port was changed without files" timeout 5 wg set wg1 listen-port 4711
expect "port" "$(wg show wg1 listen-port)" 1
prlimit --pid "$pid" --nofile="$open:"
refuse "a client was served without a file" timeout 0.5 wg show wg1
within 1 "the shortage is in the log" says wg1 "cannot accept connections now"
stop_pinging "while there are no files"
(($(grep -c "cannot accept connections now" "$world/wg1.log") < 4)) || fail "the log repeats itself"
prlimit --pid "$pid" --nofile="$soft:"
within 2 "clients are served again" timeout 1 wg show wg1
wg set wg1 listen-port 4711
well_again 1 "a shortage of files"
wg set wg1 listen-port 1
well_again 1 "two changes of the port"

# --- a log that cannot be written ------------------------------------------------------------------------------------

step "a full disk behind the log"
kill -TERM "$pid"
ends_within_a_second "$pid" SIGTERM
# The size of the stacks is for what follows: no memory for another thread, but for everything else.
RUST_MIN_STACK=$((1 << 30)) LOG_LEVEL=verbose exec_in e1 "$IMPL" -f wg1 >/dev/full 2>&1 9>&- </dev/null &
pid_of[wg1]=$! program_of[wg1]=$IMPL
within 5 "the socket of wg1 answers" answers wg1
configure_pair wg1 wg2 1 2 endpoint 10.0.0.2:2
up e1 wg1 1
well_again 12 "a start with a full disk"

# --- memory ----------------------------------------------------------------------------------------------------------

# Lets the address space of the daemon grow by no more than $1 MiB: allocations beyond fail.
leave() { prlimit --pid "$pid" --as="$(awk -v more="$1" '/^VmSize/ { print ($2 + more * 1024) * 1024 }' "/proc/$pid/status"):"; }
# $1 peers in a file for wg.
peers() {
    head -c $(($1 * 63 / 2)) /dev/urandom | base64 -w 42 |
        awk '{ printf "[Peer]\nPublicKey = %sA=\nAllowedIPs = 10.%d.%d.%d/32\n", $1, 64 + NR / 65536, NR / 256 % 256, NR % 256 }'
}

step "no more memory: traffic goes on"
pid=${pid_of[wg1]}
stream n2 n1 192.168.241.2 1 >/dev/null
leave 0
start_pinging e1 192.168.241.2
rate=$(stream n2 n1 192.168.241.2 1)
wg show wg1 >/dev/null || fail "a small request is not answered"
stop_pinging "without memory, with a stream of $rate Mbit/s"

step "no room for another thread: the work is done by those there are"
leave 100
wg addconf wg1 <(peers 2000)
expect "peers" "$(wg show wg1 peers | wc -l)" 2001
well_again 1 "a request that wanted threads"

step "a request that wants more than there is: the end, with a message, and a fresh start"
kill -TERM "$pid"
ends_within_a_second "$pid" SIGTERM
start_daemon wg1 "$IMPL" e1
pid=${pid_of[wg1]}
# Not of addresses, which the allocator holds in store, but of memory.
prlimit --pid "$pid" --data="$(awk '/^VmData/ { print ($2 + 8192) * 1024 }' "/proc/$pid/status"):"
refuse "50,000 peers went into 8 MiB" wg addconf wg1 <(peers 50000)
within 2 "the daemon ends" eval '! alive "$pid"'
# All of it, not only its first thread.
wait "$pid" || true
says wg1 "memory allocation of .* failed" || fail "it ended without a message"
within 1 "the interface is gone" eval '! ip1 link show dev wg1'
start_daemon wg1 "$IMPL" e1
