#!/usr/bin/env bash
# One TCP stream through two of our daemons is not slower than through two of Debian's wireguard-go.
. "$(dirname "$0")/lib.sh"
isolate "$@"

OTHER=${OTHER:-$(command -v wireguard-go || true)}
[[ -n $OTHER ]] || skip "no wireguard-go: apt-get install wireguard-go"
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-3}

# Both tunnels stand at once and idle in turn, so that every round meets the same machine.
build_tunnel
make_keys
start_daemon go1 "$OTHER"
start_daemon go2 "$OTHER"
ip link set go1 netns e1
ip link set go2 netns e2
wg set go1 private-key <(echo "$key1") listen-port 11 peer "$pub2" allowed-ips 192.168.242.2/32 endpoint 127.0.0.1:12
wg set go2 private-key <(echo "$key2") listen-port 12 peer "$pub1" allowed-ips 192.168.242.1/32 endpoint 127.0.0.1:11
ip1 addr add 192.168.242.1/24 dev go1
ip2 addr add 192.168.242.2/24 dev go2
ip1 link set go1 up
ip2 link set go2 up
reaches n1 192.168.241.2
reaches n1 192.168.242.2

ours=() theirs=()
for ((round = 1; round <= ROUNDS; round++)); do
    rate=$(stream n2 n1 192.168.241.2 "$SECONDS_EACH")
    ours+=("$rate")
    rate=$(stream n2 n1 192.168.242.2 "$SECONDS_EACH")
    theirs+=("$rate")
    step "round $round: ${IMPL##*/} ${ours[-1]} Mbit/s, ${OTHER##*/} ${theirs[-1]} Mbit/s"
done
median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
our_median=$(median "${ours[@]}") their_median=$(median "${theirs[@]}")
ratio=$(awk -v a="$our_median" -v b="$their_median" 'BEGIN { printf "%.2f", a / b }')
step "medians: ${IMPL##*/} $our_median Mbit/s, ${OTHER##*/} $their_median Mbit/s: $ratio times"
is_rvpn "$IMPL" || exit 0
awk -v a="$our_median" -v b="$their_median" 'BEGIN { exit !(a >= b) }' || fail "slower than ${OTHER##*/}: $ratio times"
