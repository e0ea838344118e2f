#!/usr/bin/env bash
# Developers pull from development, CI pushes to development and is kept out of production, and CI's secret is exchanged
# while it works, without one failed pull, and then revoked. With skopeo, which needs no daemon.
#
#   make example NAME=least-privilege
source "$(dirname "$0")/common/story.sh"
need skopeo skopeo
start_server
export ENTREPOT_SERVER_URL=http://$host ENTREPOT_USERNAME=admin ENTREPOT_PASSWORD=$password
image() { skopeo --command-timeout 30s "$@"; }
# refused WORD COMMAND...: it must fail, and say so with that word: a server that is gone refuses nothing.
refused() {
    local word=$1
    shift
    if "$@" >"$work/refused" 2>&1; then
        echo "this was not refused: $*" >&2
        exit 1
    fi
    grep -q "$word" "$work/refused" || { cat "$work/refused" >&2; exit 1; }
    tail -n 1 "$work/refused" | sed 's/^time=[^ ]* level=[a-z]* msg=//'
}

say "an organisation with a namespace for development and one for production"
run entrepot organisation create acme --owner admin
run entrepot namespace create acme-dev --owner acme
run entrepot namespace create acme-prod --owner acme

say "dora is a developer: a team may pull from development, and from nowhere else"
dora=$(entrepot user add dora --generate --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["password"])')
run entrepot team create acme/devs
run entrepot team add acme/devs dora --join
run entrepot grant add team:acme/devs reader acme-dev

say "CI is a service account: it pushes to development"
run entrepot service-account create ci --namespace acme
run entrepot grant add service:acme+ci writer acme-dev
old=$(entrepot service-account secret add acme+ci first --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')

say "and, whatever else it may be given one day, never to production"
run entrepot grant add service:acme+ci push,tag.create,tag.move 'acme-prod/**' --deny

make_image "$work/image" "hello from $story"
say "CI pushes to development; dora pulls it from there"
image copy --quiet --dest-tls-verify=false --dest-creds "robot\$acme+ci:$old" "dir:$work/image" "docker://$host/acme-dev/app:1.0"
image copy --quiet --src-tls-verify=false --src-creds "dora:$dora" "docker://$host/acme-dev/app:1.0" "dir:$work/pulled"
echo "both did"

say "dora does not push, and production is not even there for her"
refused denied image copy --quiet --dest-tls-verify=false --dest-creds "dora:$dora" "dir:$work/image" "docker://$host/acme-dev/app:2.0"
refused 'not known' image inspect --tls-verify=false --creds "dora:$dora" "docker://$host/acme-prod/app:1.0"

say "CI is refused in production"
refused denied image copy --quiet --dest-tls-verify=false --dest-creds "robot\$acme+ci:$old" "dir:$work/image" "docker://$host/acme-prod/app:1.0"

say "and the owner of production can ask why: by question, or with the id that came with a refusal"
run entrepot can-i push acme-prod/app as acme+ci || true
denial=$(curl --silent --output "$work/body" --dump-header - --user "robot\$acme+ci:$old" --request POST \
    "http://$host/v2/acme-prod/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^entrepot-denial: //p')
run entrepot why "$denial"
run entrepot who-can push acme-prod/app

say "CI's secret is exchanged while four jobs of CI pull again and again, with all layers"
printf '%s' "$old" >"$work/secret"
pull() {
    while [ ! -e "$work/stop" ]; do
        rm -rf "$work/job$1"
        echo >>"$work/tries"
        image copy --quiet --src-tls-verify=false --src-creds "robot\$acme+ci:$(cat "$work/secret")" \
            "docker://$host/acme-dev/app:1.0" "dir:$work/job$1" 2>>"$work/failed" || echo >>"$work/failures"
    done
}
pullers=()
for job in 1 2 3 4; do
    pull "$job" &
    pullers+=($!)
done
sleep 1
new=$(entrepot service-account secret add acme+ci second --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
printf '%s' "$new" >"$work/secret.new"
mv "$work/secret.new" "$work/secret"
sleep 1
run entrepot service-account secret revoke acme+ci first
sleep 2
touch "$work/stop"
wait "${pullers[@]}"
if [ -s "$work/failures" ]; then
    cat "$work/failed" >&2
    exit 1
fi
printf 'of %s pulls, none failed\n' "$(wc -l <"$work/tries")"

say "the old secret opens nothing any more"
refused 'invalid username/password' image inspect --tls-verify=false --creds "robot\$acme+ci:$old" "docker://$host/acme-dev/app:1.0"

say "and when CI is over, the account is disabled: with any secret"
run entrepot service-account disable acme+ci
sleep 1
refused 'invalid username/password' image inspect --tls-verify=false --creds "robot\$acme+ci:$new" "docker://$host/acme-dev/app:1.0"

say "done"
