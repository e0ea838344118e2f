#!/usr/bin/env bash
# Build the wheel, install it with its locked requirements in a clean environment, and serve from there.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
work=$(mktemp -d "${TMPDIR:-/tmp}/entrepot-wheel.XXXXXX")
server=
finish() {
    local code=$?
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" || true; }
    [ "$code" = 0 ] || cat "$work/log" 2>/dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

"$python" -m build --outdir "$work/dist" . >"$work/log" 2>&1
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$work"/dist/*.whl

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$work"
ENTREPOT_ADMIN_PASSWORD=secret "$work/venv/bin/entrepot" serve --data "$work/data" --listen "127.0.0.1:$port" \
    >"$work/log" 2>&1 &
server=$!
for _ in $(seq 200); do
    if answer=$(curl --silent --fail --user admin:secret "http://127.0.0.1:$port/v2/"); then
        echo "wheel: $(ls dist/*.whl | xargs -n1 basename) serves: $answer"
        exit 0
    fi
    kill -0 "$server"
    sleep 0.1
done
echo "wheel: the server did not answer" >&2
exit 1
