#!/usr/bin/env bash
# Draws `rvpn top` with three peers and traffic, at 80x24 and at 160x50, into docs/ or the directory $1.
#
#      hub                            p1 laptop   sends as fast as it may, by turns more and less
#      wg0 ======= three tunnels ==== p2 office   receives, and pings from an address that is not its own
#      wg-lab                         p3 phone    is idle
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"
docs=${1:-$root/docs}
seconds=45
export PYTHONPATH=$cache/python3-pyte/usr/lib/python3/dist-packages

declare -A name_of=([1]=laptop [2]=office [3]=phone) outer=([1]=198.51.100.24 [2]=203.0.113.80 [3]=192.0.2.191)
hub_key=$(wg genkey)
hub_public=$(wg pubkey <<<"$hub_key")
start_daemon wg0 "$IMPL" e1
start_daemon wg-lab "$IMPL" e1
wg set wg0 private-key <(echo "$hub_key") listen-port 51820
ip1 addr add 10.9.0.1/24 dev wg0
ip1 link set wg0 up
for n in 1 2 3; do
    ip netns add "p$n"
    ip link add "cable$n" netns e1 type veth peer name cable netns "p$n"
    ip1 addr add "100.64.$n.1" peer "${outer[$n]}" dev "cable$n"
    ip1 link set "cable$n" up
    ip -n "p$n" addr add "${outer[$n]}" peer "100.64.$n.1" dev cable
    ip -n "p$n" link set cable up
    ip -n "p$n" link set lo up
    start_daemon "wgp$n" "$IMPL" "p$n"
    key=$(wg genkey)
    public=$(wg pubkey <<<"$key")
    wg set "wgp$n" private-key <(echo "$key") listen-port 51820 \
        peer "$hub_public" allowed-ips 10.9.0.0/24 endpoint "100.64.$n.1:51820"
    "$IMPL" set wg0 peer "$public" name "${name_of[$n]}" allowed-ips "10.9.0.1$n/32,fd00::1$n/128"
    ip -n "p$n" addr add "10.9.0.1$n/24" dev "wgp$n"
    ip -n "p$n" link set "wgp$n" up
    # The hub begins, so that it knows the round trips.
    endpoint wg0 "$public" "${outer[$n]}:51820"
    n1 ping -q -n -c 1 -W 2 "10.9.0.1$n" >/dev/null || fail "no answer from p$n"
done
ip -n p2 addr add 10.9.0.99/32 dev wgp2

# Traffic that goes up and down: TARGET_NS PORT OPTIONS...
waves() {
    local namespace=$1 port=$2 rate
    shift 2
    exec_in_shell e1 iperf3 -s -p "$port" >/dev/null 2>&1 9>&- </dev/null &
    within 3 "iperf3 listens" listens n1 "$port"
    while :; do
        for rate in 4 9 17 30 24 38 12 6 2; do
            exec_in_shell "$namespace" iperf3 -c 10.9.0.1 -p "$port" -t 2 -b "${rate}M" "$@" >/dev/null 2>&1 9>&- </dev/null || true
        done
    done
}
waves p1 5201 &
waves p2 5202 -R &
exec_in p2 ping -q -n -i 0.4 -I 10.9.0.99 10.9.0.1 >/dev/null 2>&1 9>&- &

# Those of the hub alone.
mkdir "$world/sockets"
ln -s /run/wireguard/wg0.sock /run/wireguard/wg-lab.sock "$world/sockets"
for size in 80x24 160x50; do
    RVPN_RUN_DIR=$world/sockets TERM=xterm-256color exec_in e1 python3 "$root/tests/pictures/terminal.py" "$size" "$seconds" "$docs/top-$size.svg" \
        "$IMPL" top wg0 --interval 0.5 9>&- &
    pictures+=($!)
done
for picture in "${pictures[@]}"; do wait "$picture" || fail "no picture"; done
