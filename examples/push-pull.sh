#!/usr/bin/env bash
# Log in, push an image, look at it, pull it back: with skopeo, which needs no daemon.
#
#   make example NAME=push-pull
source "$(dirname "$0")/common/story.sh"
need skopeo skopeo
export REGISTRY_AUTH_FILE=$work/auth.json
start_server

say "an image with one file in it"
make_image "$work/image" "hello from $story"

say "log in, as the first administrator"
printf '%s' "$password" | run skopeo login --tls-verify=false --username admin --password-stdin "$host"

say "push it: the namespace is library, the repository hello, the tag 1.0"
run skopeo copy --quiet --dest-tls-verify=false "dir:$work/image" "docker://$host/library/hello:1.0"

say "the registry knows it now; the namespace library may be left out"
run skopeo list-tags --tls-verify=false "docker://$host/hello"
run skopeo inspect --tls-verify=false --format '{{.Name}} {{.Digest}}' "docker://$host/library/hello:1.0"

say "pull it into another folder: what comes back is the same, byte for byte"
run skopeo copy --quiet --src-tls-verify=false "docker://$host/library/hello:1.0" "dir:$work/pulled"
run diff -r "$work/image" "$work/pulled"

say "without logging in, nobody gets it: everything is private at first"
if skopeo inspect --no-creds --tls-verify=false "docker://$host/library/hello:1.0" >"$work/refused" 2>&1; then
    echo "an anonymous pull was not refused" >&2
    exit 1
fi
tail -n 1 "$work/refused"

say "done"
