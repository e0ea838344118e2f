#!/usr/bin/env bash
# A CI job pushes without any stored secret: it shows the token of its CI system. With entrepot's command line and skopeo.
#
#   make example NAME=keyless-ci
source "$(dirname "$0")/common/story.sh"
need skopeo skopeo
export HOME=$work/home
mkdir "$HOME"
# The CI system of this story is on this machine, which a registry asks nothing unless it is told to.
export ENTREPOT_FEDERATION__PRIVATE_ADDRESSES=true
start_server

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
say "a CI system on 127.0.0.1:$port, which signs a token for each job"
python "$top/examples/common/ci_issuer.py" "$port" 2>"$work/ci.log" &
until curl --silent --fail --output "$work/keys" "http://127.0.0.1:$port/keys"; do sleep 0.1; done

# job REF: a job of acme/app on a branch or tag, with what the CI system puts into its environment.
job() {
    export ACTIONS_ID_TOKEN_REQUEST_URL="http://127.0.0.1:$port/job?ref=$1" ACTIONS_ID_TOKEN_REQUEST_TOKEN=of-the-runner
}

say "the administrator believes it, makes an account for builds, and says which jobs act as that account"
printf '%s\n' "$password" | run entrepot login "http://$host" --username admin --password-stdin
run entrepot issuer add ci --url "http://127.0.0.1:$port" --audience "$host"
entrepot user add builder --generate >"$work/never-needed"
run entrepot namespace create acme-dev
run entrepot namespace create acme-prod
run entrepot namespace grant acme-dev builder writer
run entrepot issuer rule set ci main --if "repo == acme/app && ref == refs/heads/main" --as builder \
    --scope "repository:acme-dev/*:pull,push"

say "a job on the main branch logs in with its token, and pushes to acme-dev"
make_image "$work/image" "hello from $story"
job refs/heads/main
run entrepot ci-login "http://$host"
run skopeo copy --quiet --dest-tls-verify=false --authfile "$HOME/.docker/config.json" \
    "dir:$work/image" "docker://$host/acme-dev/app:1.0"

say "it does not push to acme-prod"
if skopeo copy --quiet --dest-tls-verify=false --authfile "$HOME/.docker/config.json" \
    "dir:$work/image" "docker://$host/acme-prod/app:1.0" >"$work/answer" 2>&1; then
    echo "a push to production was not refused" >&2
    exit 1
fi
grep -oE '(denied|unauthorized).*' "$work/answer" | tail -n 1

say "a job on another branch gets nothing, and the administrator sees why"
job refs/heads/feature
if entrepot ci-login "http://$host" 2>"$work/answer"; then
    echo "a job on another branch was let in" >&2
    exit 1
fi
cat "$work/answer"
curl --silent "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$host" | python3 -c 'import json, sys; print(json.load(sys.stdin)["value"])' \
    >"$work/token"
run entrepot issuer try "$work/token"

say "the rule is switched off: the next job on main is refused as well"
run entrepot issuer rule disable ci main
job refs/heads/main
if entrepot ci-login "http://$host" 2>"$work/answer"; then
    echo "a disabled rule let a job in" >&2
    exit 1
fi
cat "$work/answer"

say "done"
