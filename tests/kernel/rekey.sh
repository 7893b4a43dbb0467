#!/usr/bin/env bash
# Two tunnels, one begun by each end, for 126 seconds: a new handshake after 120, and no packet is lost at it.
. "$(dirname "$0")/../netns/lib.sh"
. "$here/interop.sh"
isolate "$@"

OTHER=$PEER
long_interop
