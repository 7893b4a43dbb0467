#!/usr/bin/env bash
# A packet that cannot be sent is answered as the driver answers it, and a connection fails with the same error.
#
# But for the source of the answer: the driver's is the interface's own address, ours the one that was not reached, as an
# address of the host's own would be discarded when it came in by the TUN (src/proto/icmp.rs).
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"

build_tunnel
reaches n1 192.168.241.2
for end in 1 2; do
    ip -n "e$end" route add 10.99.0.0/16 dev "wg$end"
    ip -n "e$end" -6 route add fd99::/16 dev "wg$end"
done

# What a ping and a connection say at end $1.
said() {
    { "$1" ping -n -c 1 -W "$PATIENCE" 10.99.0.1 || true; } 2>&1 | grep -i '^from'
    { "$1" ping -n -c 1 -W "$PATIENCE" fd99::1 || true; } 2>&1 | grep -i '^from'
    { "$1" socat -u OPEN:/dev/null TCP4:10.99.0.1:80,connect-timeout=20 || true; } 2>&1 | grep -o 'connect(.*'
    { "$1" socat -u OPEN:/dev/null 'TCP6:[fd99::1]:80,connect-timeout=20' || true; } 2>&1 | grep -o 'connect(.*'
}
normal() { sed -E 's/^From [0-9a-f.:]+ /From ADDRESS /; s/connect\([0-9]+/connect(FD/'; }
alike() {
    local ours theirs
    ours=$(said n1 | normal) theirs=$(said n2 | normal)
    [[ $(wc -l <<<"$theirs") == 4 ]] || fail "$1: the driver said: $theirs"
    expect "$1" "$ours" "$theirs"
    step "$1: ${theirs//$'\n'/; }"
}

alike "no peer for the destination"
wg set wg1 peer "$(wg genkey | wg pubkey)" allowed-ips 10.99.0.0/16,fd99::/16
wg set wg2 peer "$(wg genkey | wg pubkey)" allowed-ips 10.99.0.0/16,fd99::/16
alike "a peer without an endpoint"
reaches n1 192.168.241.2
