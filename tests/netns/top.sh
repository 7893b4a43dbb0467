#!/usr/bin/env bash
# `rvpn top` shows what there is, of wireguard-go too, and leaves the terminal as it was, however it ends.
. "$(dirname "$0")/lib.sh"
isolate "$@"
is_rvpn "$IMPL" || skip "the view is rvpn's"
command -v wireguard-go >/dev/null || skip "no wireguard-go"

shows() { TERM=xterm-256color python3 "$here/top.py" "$1" "$2" "$IMPL" top "${@:3}"; }

build_tunnel
start_daemon wg3 wireguard-go
key3=$(wg pubkey <<<"$(wg genkey)")
wg set wg3 peer "$key3" allowed-ips 10.1.2.3/32
"$IMPL" set wg1 peer "$pub2" name laptop
reaches_all

step "q and signals end it, and the terminal is as it was"
shows q laptop
for signal in SIGTERM SIGHUP SIGINT SIGQUIT; do shows "$signal" laptop wg1; done

step "of wireguard-go there is less"
shows q "told by rvpn only" wg3
refuse "it asks wireguard-go what that does not know" grep rvpn_ask "$world/wg3.log"
shows q 10.1.2.3/32 wg3

step "where it cannot draw it says so"
said=$(TERM=dumb python3 "$here/top.py" q "does without" "$IMPL" top 2>&1) && fail "a dumb terminal is drawn on"
[[ $said == *"takes no single keys"* ]] || fail "$said"
said=$("$IMPL" top </dev/null 2>&1) && fail "it draws where there is no terminal"
[[ $said == *"rvpn show --watch"* ]] || fail "it said '$said'"
