#!/usr/bin/env bash
# A persistent keepalive begins a session without traffic and goes on; the other end counts it and does not answer.
. "$(dirname "$0")/../netns/lib.sh"
isolate "$@"

build_tunnel no_endpoints
handshaken() { [[ $(handshake_of wg2 "$pub1") != 0 ]]; }
has_received() { (($(received_by wg2 "$pub1") >= $1)); }

step "${IMPL##*/} begins by itself"
wg set wg1 peer "$pub2" endpoint 127.0.0.1:2 persistent-keepalive 1
within 3 "a handshake without traffic" handshaken

step "and sends 32 bytes a second"
# An initiation of 148 bytes, four keepalives.
within 8 "four keepalives arrive" has_received $((148 + 4 * 32))
expect "bytes of all but initiation and keepalives" "$((($(received_by wg2 "$pub1") - 148) % 32))" 0
expect "sent by the other end: its response alone" "$(sent_by wg2 "$pub1")" 92

step "the other end knows the way"
reaches n2 192.168.241.1
