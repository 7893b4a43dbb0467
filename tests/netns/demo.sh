#!/usr/bin/env bash
# A tunnel to look at: two namespaces, two daemons, stock `wg`, pings, iperf3. `make run` calls it.
#
# Environment: IMPL as in lib.sh, SECONDS_EACH of iperf3 (default 3). Ends itself whole, also when interrupted.

set -euo pipefail

# Without root the demonstration is root of a user namespace of its own, where the system lets anyone make one.
if ((EUID != 0)) && [[ -z ${RVPN_ISOLATED:-} ]]; then
    if ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
        echo "This system lets only root make network namespaces: run 'sudo make run'." >&2
        exit 1
    fi
fi
if [[ ! -r /dev/net/tun || ! -w /dev/net/tun ]]; then
    echo "/dev/net/tun: not there or not open to $(id -un): load the tun module, or run 'sudo make run'." >&2
    exit 1
fi

. "$(dirname "$0")/lib.sh"
isolate "$@"

SECONDS_EACH=${SECONDS_EACH:-3}
bold='' dim='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s' "$dim"; sed 's/^/  /'; printf '%s' "$plain"; }

heading "Two network namespaces, a daemon for each"
start_daemon wg1
start_daemon wg2
ip link set wg1 netns e1
ip link set wg2 netns e2
show <<TEXT
e1 [wg1] == UDP 127.0.0.1:51821 <-> 127.0.0.1:51822 == [wg2] e2
${IMPL##*/} wg1: process ${pid_of[wg1]}
${IMPL##*/} wg2: process ${pid_of[wg2]}
TEXT

heading "Configured by stock wg, the private keys through files"
make_keys
configure_pair wg1 wg2 51821 51822 endpoint 127.0.0.1:51822
up e1 wg1 1
up e2 wg2 2
show <<TEXT
wg set wg1 private-key FILE listen-port 51821 peer ${pub2:0:8}... allowed-ips 192.168.241.2/32,fd00::2/128 endpoint 127.0.0.1:51822
wg set wg2 private-key FILE listen-port 51822 peer ${pub1:0:8}... allowed-ips 192.168.241.1/32,fd00::1/128
TEXT

heading "Pings through the tunnel"
n1 ping -n -c 3 -i 0.2 -W 1 192.168.241.2 | grep 'bytes from\|transmitted' | show
n1 ping -n -c 3 -i 0.2 -W 1 fd00::2 | grep 'bytes from\|transmitted' | show

heading "One TCP stream for $SECONDS_EACH s"
rate=$(stream n2 n1 192.168.241.2 "$SECONDS_EACH")
show <<<"$rate Mbit/s"

heading "wg show"
{ wg show wg1 && echo && wg show wg2; } | show

heading "All gone again"
kill -TERM "${pid_of[wg1]}" "${pid_of[wg2]}"
ends_within_a_second "${pid_of[wg1]}" SIGTERM
ends_within_a_second "${pid_of[wg2]}" SIGTERM
ip netns del e1
ip netns del e2
show <<<"The tunnel worked."
