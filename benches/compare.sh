#!/bin/bash
# The whole comparison in one go: corpora, our server on mbox and on mbx, Debian's dovecot-imapd on mbox, row by row.
#
#   compare.sh [COUNT [ARGUMENTS OF compare.py]]
#
# Needs root, Debian's dovecot-imapd, and room for three copies of the mail under ${TMPDIR:-/tmp}.
set -euo pipefail
count=${1:-10000}
shift || true
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ailurus-bench.XXXXXX")
chmod 755 "$work"
started=()
cleanup() {
    for process in "${started[@]}"; do kill "$process" 2> /dev/null || true; done
    wait || true
    rm -rf "$work"
}
trap cleanup EXIT
# Here, for a server that is being built does not answer in time.
cargo build --quiet --release --manifest-path "$here/../Cargo.toml" -p ailurus-daemon -p xtask
for format in mbox mbx; do
    cargo run --quiet --release --manifest-path "$here/../Cargo.toml" -p xtask -- corpus "$format" "$count" 1 "$work/mail.$format"
done
# Prints the description that a server has written to its file.
described() {
    for _ in $(seq 600); do
        grep -s ^name= "$1" && return
        sleep 0.1
    done
    echo "no server: $1" >&2
    exit 1
}
"$here/ours.sh" "$work/ours" 21431 mbox > "$work/ours.txt" & started+=($!)
"$here/ours.sh" "$work/mbx" 21433 mbx > "$work/mbx.txt" & started+=($!)
"$here/dovecot.sh" "$work/dovecot" 21435 mbox > "$work/dovecot.txt" & started+=($!)
ours=$(described "$work/ours.txt")
mbx=$(described "$work/mbx.txt")
dovecot=$(described "$work/dovecot.txt")
sleep 1
"$here/compare.py" --mail "$work/mail.mbox" --count "$count" "$@" "$ours" "$mbx,mail=$work/mail.mbx" "$dovecot"
