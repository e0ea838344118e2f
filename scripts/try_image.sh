#!/usr/bin/env bash
# Build the container image on a base made from Debian packages, since there may be no registry to pull one from, and
# run it locked down: an ordinary user, a read-only root, no capabilities. Needs root, podman and debootstrap.
#
#   scripts/try_image.sh [ROOT.tar]     with a root file system that has python3 and python3-venv already
set -euo pipefail
cd "$(dirname "$0")/.."
for program in podman debootstrap curl; do
    command -v "$program" >/dev/null || { echo "image: $program is missing: apt-get install $program"; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "image: debootstrap needs root"; exit 1; }

MOST_MIB=150
work=$(mktemp -d "${TMPDIR:-/tmp}/entrepot-image.XXXXXX")
image=localhost/entrepot:try
base=localhost/entrepot-base:try
name=entrepot-try-$$
# A store of its own: nothing of the machine's podman is touched.
podman=(podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --cgroup-manager cgroupfs)
# runc also runs where cgroups are mounted the old way, as inside many CI machines.
command -v runc >/dev/null && podman+=(--runtime runc)
finish() {
    local code=$?
    if [ "$code" != 0 ]; then
        "${podman[@]}" logs "$name" 2>/dev/null | tail -n 20 || true
    fi
    "${podman[@]}" rm --force --time 5 "$name" >/dev/null 2>&1 || true
    umount "$work/storage/overlay" 2>/dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

echo "image: a base of Debian with Python"
if [ $# -gt 0 ]; then
    rootfs=$1
else
    rootfs=$work/root.tar
    mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' | sed -n 1p || true)
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/root" \
        ${mirror:+"$mirror"} >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
    tar --create --numeric-owner --one-file-system --directory "$work/root" --file "$rootfs" \
        --exclude './usr/share/doc' --exclude './usr/share/locale' --exclude './usr/share/man' \
        --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' .
    rm -rf "$work/root"
fi
"${podman[@]}" import --quiet "$rootfs" "$base" >/dev/null

echo "image: build"
settings=()
for file in /etc/ssl/certs/ca-certificates.crt "${PIP_CERT:-}"; do
    [ -f "$file" ] && settings=(--volume "$file:/etc/ssl/certs/ca-certificates.crt:ro" --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt)
done
"${podman[@]}" build --quiet --network host --isolation chroot "${settings[@]}" --build-arg "BASE=$base" --tag "$image" . \
    >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
"${podman[@]}" save --quiet --format docker-dir --compress --output "$work/saved" "$image"
size=$(du -sm "$work/saved" | cut -f 1)
unpacked=$(("$("${podman[@]}" image inspect --format '{{.Size}}' "$image")" / 1048576))
echo "image: $size MiB to pull, $unpacked MiB unpacked"
[ "$size" -le "$MOST_MIB" ] || { echo "image: more than $MOST_MIB MiB"; exit 1; }

echo "image: run, locked down"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${podman[@]}" run --detach --name "$name" --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --network host --read-only --tmpfs /tmp --cap-drop all \
    --security-opt no-new-privileges --volume "$name:/data:U" \
    --env ENTREPOT_ADMIN_PASSWORD=secret-of-the-image --env "ENTREPOT_SERVER__LISTEN=0.0.0.0:$port" "$image" >/dev/null
for _ in $(seq 300); do
    if curl --silent --fail --user admin:secret-of-the-image "http://127.0.0.1:$port/v2/" >/dev/null; then
        user=$("${podman[@]}" exec "$name" id -u)
        [ "$user" = 65532 ] || { echo "image: runs as user $user"; exit 1; }
        if "${podman[@]}" exec "$name" touch /opt/written 2>/dev/null; then
            echo "image: the root file system is not read-only"
            exit 1
        fi
        "${podman[@]}" stop --time 30 "$name" >/dev/null
        code=$("${podman[@]}" inspect --format '{{.State.ExitCode}}' "$name")
        [ "$code" = 0 ] || { echo "image: SIGTERM ended it with $code"; exit 1; }
        echo "image: serves as user $user on a read-only root, and ends with $code"
        exit 0
    fi
    sleep 0.1
done
echo "image: the server did not answer"
exit 1
