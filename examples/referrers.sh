#!/usr/bin/env bash
# Attach an SBOM to an image and find it again by the image's digest: with skopeo and curl.
#
#   make example NAME=referrers
source "$(dirname "$0")/common/story.sh"
need skopeo skopeo
need jq jq
start_server
repository=http://$host/v2/library/hello
admin=(--silent --show-error --fail --user "admin:$password")
sbom_type=application/vnd.example.sbom.v1+json

say "an image"
make_image "$work/image" "hello from $story"
run skopeo copy --quiet --dest-tls-verify=false --dest-creds "admin:$password" \
    "dir:$work/image" "docker://$host/library/hello:1.0"
image=$(descriptor application/vnd.oci.image.manifest.v1+json "$work/image/manifest.json")
digest=$(jq --raw-output .digest <<<"$image")

say "a document about it, pushed as a blob in one request; and the empty config that artifacts have"
printf '{"packages":["message"]}' >"$work/sbom.json"
printf '{}' >"$work/empty.json"
for file in sbom.json empty.json; do
    curl "${admin[@]}" --request POST --header 'Content-Type: application/octet-stream' \
        --data-binary "@$work/$file" "$repository/blobs/uploads/?digest=sha256:$(sum "$work/$file")"
    echo "$file is sha256:$(sum "$work/$file")"
done

say "a manifest that names the image as its subject; OCI-Subject in the answer says that the registry understood"
printf '{"schemaVersion":2,"mediaType":"%s","artifactType":"%s","config":%s,"layers":[%s],"subject":%s,"annotations":%s}' \
    application/vnd.oci.image.manifest.v1+json "$sbom_type" \
    "$(descriptor application/vnd.oci.empty.v1+json "$work/empty.json")" \
    "$(descriptor "$sbom_type" "$work/sbom.json")" "$image" '{"made-by":"referrers.sh"}' >"$work/artifact.json"
curl "${admin[@]}" --request PUT --header 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    --data-binary "@$work/artifact.json" --dump-header "$work/headers" \
    "$repository/manifests/sha256:$(sum "$work/artifact.json")"
grep -i '^oci-subject' "$work/headers"

say "whoever has the image finds what refers to it"
curl "${admin[@]}" "$repository/referrers/$digest" | jq .

say "or only what has a certain type"
of_type() {
    curl "${admin[@]}" --get --data-urlencode "artifactType=$1" "$repository/referrers/$digest" |
        jq --raw-output '.manifests[].digest'
}
echo "$sbom_type: $(of_type "$sbom_type")"
[ "$(of_type "$sbom_type")" = "sha256:$(sum "$work/artifact.json")" ]
[ -z "$(of_type application/vnd.example.signature)" ]

say "done"
