#!/usr/bin/env bash
# One file on the machine is enough: keys, files, up, ping and down with nothing of wireguard-tools, iproute2 and bash in PATH.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "up and down are rvpn's own"

link_ends
mkdir "$world/bin" "$world/1" "$world/2"
ln -s "$IMPL" "$world/bin/rvpn"
# The command in namespace $1, with nothing but itself in PATH.
alone() { PATH=$world/bin /usr/bin/nsenter --net="/run/netns/$1" -- "$world/bin/rvpn" "${@:2}"; }
refuse "wg is in PATH" env PATH="$world/bin" wg --version

state_of() {
    ip -n "$1" -o link show | awk '{ print $2, $5 }'
    ip -n "$1" -4 rule show
    ip -n "$1" -6 rule show
    ip -n "$1" -4 route show table all | sort
    ip -n "$1" -6 route show table all | sort
    nsenter --net="/run/netns/$1" nft list ruleset
    find /run -xdev -not -path "$world*" 2>/dev/null | sort
}
mkdir -p /run/wireguard
state_of e1 >"$world/before1"
state_of e2 >"$world/before2"

step "keys and files"
expect "the length of a key" "$(alone e1 genkey | wc -c)" 45
umask 077
alone e1 pair 10.0.0.1:51820 >"$world/both"
# Two files, one after the other.
awk -v folder="$world" '/^\[Interface\]/ { file = folder "/" ++n "/tunnel" n ".conf" } file { print >file }' "$world/both"
address_in() { sed -n 's/^Address = \(.*\)\/.*/\1/p' "$1"; }
first=$(address_in "$world/1/tunnel1.conf") second=$(address_in "$world/2/tunnel2.conf")

step "up, ping, down"
(cd "$world/1" && alone e1 up ./tunnel1.conf 9>&- </dev/null) || fail "the first end does not come up"
(cd "$world/2" && alone e2 up ./tunnel2.conf 9>&- </dev/null) || fail "the second end does not come up"
reaches n2 "$first"
reaches n1 "$second"
alone e1 down tunnel1 || fail "the first end does not go down"
alone e2 down "$world/2/tunnel2.conf" || fail "the second end does not go down"
for end in 1 2; do
    for _ in {1..50}; do
        state_of "e$end" >"$world/after$end"
        ! cmp -s "$world/before$end" "$world/after$end" || break
        sleep 0.02
    done
    diff "$world/before$end" "$world/after$end" || fail "down left something in e$end, or took too much"
done
