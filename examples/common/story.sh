# What every story shares; sourced, not run. Gives: $work (a temporary folder, removed at the end), start_server
# (sets $host and $password), make_image FOLDER TEXT, say, and need PROGRAM PACKAGE.
set -euo pipefail

story=$(basename "$0" .sh)
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH=$top/.venv/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/entrepot-$story.XXXXXX")
server=
# What a story starts and makes besides: ended and removed with the rest.
helpers=()
folders=()

finish() {
    local code=$?
    for process in $server "${helpers[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    if [ "$code" != 0 ]; then
        printf '%s: FAILED with %s; the server said:\n' "$story" "$code" >&2
        tail -n 20 "$work"/server*.log >&2 2>/dev/null || true
    fi
    rm -rf "$work" "${folders[@]}"
    exit "$code"
}
trap finish EXIT

say() { printf '\n# %s\n' "$*"; }

# Show a command as one would type it, then run it.
run() {
    printf '$ %s\n' "$*"
    "$@"
}

need() {
    command -v "$1" >/dev/null || {
        echo "$story needs $1: apt-get install $2" >&2
        exit 1
    }
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_server() {
    need curl curl
    local port
    port=$(free_port)
    host=127.0.0.1:$port
    password=a-password-for-$story
    say "a registry on $host with its data in $work/data"
    ENTREPOT_ADMIN_PASSWORD=$password entrepot serve --data "$work/data" --listen "$host" >"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        curl --silent --fail --output "$work/ready" "http://$host/readyz" && return 0
        kill -0 "$server" || return 1
        sleep 0.1
    done
    echo "the server was not ready in time" >&2
    return 1
}

# An image of one layer, as skopeo's "dir:" has it: one file TEXT goes into /message.
make_image() {
    local folder=$1 tar layer config
    mkdir -p "$folder/files"
    printf '%s\n' "$2" >"$folder/files/message"
    tar --create --mtime=@0 --owner=0 --group=0 --directory "$folder/files" --file "$folder/layer.tar" message
    tar=$(sum "$folder/layer.tar")
    gzip --no-name "$folder/layer.tar"
    layer=$(sum "$folder/layer.tar.gz")
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"config":{}}' \
        "$tar" >"$folder/config.json"
    config=$(sum "$folder/config.json")
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' \
        application/vnd.oci.image.manifest.v1+json \
        "$(descriptor application/vnd.oci.image.config.v1+json "$folder/config.json")" \
        "$(descriptor application/vnd.oci.image.layer.v1.tar+gzip "$folder/layer.tar.gz")" >"$folder/manifest.json"
    mv "$folder/layer.tar.gz" "$folder/$layer"
    mv "$folder/config.json" "$folder/$config"
    rm -r "$folder/files"
    printf 'Directory Transport Version: 1.1\n' >"$folder/version"
}

sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# descriptor MEDIA_TYPE FILE: media type, digest and size, as manifests name content.
descriptor() { printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$1" "$(sum "$2")" "$(stat -c %s "$2")"; }
