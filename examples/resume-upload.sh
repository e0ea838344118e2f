#!/usr/bin/env bash
# Upload a blob in pieces over a connection that breaks, and go on where it broke: with curl.
#
#   make example NAME=resume-upload
source "$(dirname "$0")/common/story.sh"
start_server
api=http://$host
admin=(--silent --show-error --user "admin:$password")

# The value of one header of the last answer.
header() { grep -i "^$1:" "$work/headers" | tr -d '\r' | cut -d ' ' -f 2- | tail -n 1; }

# ask STATUS CURL-ARGUMENTS...: send a request that must be answered with this status.
ask() {
    local wanted=$1 got
    shift
    got=$(curl "${admin[@]}" --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}' "$@")
    echo "  $got $(header location || true) $(header range || true)"
    [ "$got" = "$wanted" ] || { cat "$work/body"; return 1; }
}

say "3 MiB to upload, in two parts"
head -c 3145728 /dev/urandom >"$work/blob"
head -c 1048576 "$work/blob" >"$work/first"
tail -c +1048577 "$work/blob" >"$work/second"
digest=sha256:$(sum "$work/blob")

say "POST begins the upload and answers where it goes on, as an address or as a path"
ask 202 --request POST "$api/v2/library/data/blobs/uploads/"
upload=$(header location)
[ "${upload#/}" = "$upload" ] || upload=$api$upload

say "PATCH the first MiB"
ask 202 --request PATCH --header 'Content-Type: application/octet-stream' --header 'Content-Range: 0-1048575' \
    --data-binary "@$work/first" "$upload"

say "PATCH the rest, but the line breaks in the middle of it"
if curl "${admin[@]}" --max-time 1 --limit-rate 500k --output "$work/body" --request PATCH \
    --header 'Content-Type: application/octet-stream' --header 'Content-Range: 1048576-3145727' \
    --data-binary "@$work/second" "$upload" 2>"$work/broken"; then
    echo "the upload was to break" >&2
    exit 1
fi
cat "$work/broken"

say "GET tells how far the upload has come: what broke off does not count"
ask 204 "$upload"
[ "$(header range)" = 0-1048575 ]

say "send the rest again and close with the digest of the whole"
ask 202 --request PATCH --header 'Content-Type: application/octet-stream' --header 'Content-Range: 1048576-3145727' \
    --data-binary "@$work/second" "$upload"
ask 201 --request PUT "$upload?digest=$digest"

say "the blob is there, whole"
ask 200 "$api/v2/library/data/blobs/$digest"
run cmp "$work/blob" "$work/body"

say "and a part of it can be asked for"
ask 206 --header 'Range: bytes=1048576-1048585' "$api/v2/library/data/blobs/$digest"
[ "$(stat -c %s "$work/body")" = 10 ]

say "done"
