#!/usr/bin/env bash
# Three replicas on PostgreSQL and an S3 store behind a load balancer: skopeo pushes through it while one of them is killed,
# all are upgraded one by one and the collector runs; whatever was acknowledged is there, byte for byte.
#
#   make example NAME=replicas
source "$(dirname "$0")/common/story.sh"
source "$(dirname "$0")/common/replicas.sh"
PATH=$PATH:/usr/sbin
need curl curl
need skopeo skopeo
need haproxy haproxy
need setpriv util-linux
need weed "nothing: make .venv/.development brings it"
export HOME=$work/home REGISTRY_AUTH_FILE=$work/auth.json
mkdir "$HOME" "$work/images" "$work/pushed" "$work/deleted" "$work/pulled" "$work/by-digest"
password=a-password-for-$story
export ENTREPOT_ADMIN_PASSWORD=$password ENTREPOT_SERVER__WORKERS=1 ENTREPOT_SERVER__DRAIN_SECONDS=1 ENTREPOT_LOG__ACCESS=false
# Nothing is kept for later, so that the collector has something to do at once.
export ENTREPOT_KEEP__HISTORY_DAYS=0 ENTREPOT_KEEP__TRASH_DAYS=0 ENTREPOT_KEEP__GRACE_SECONDS=2
start_database
start_store
say "three replicas, all with the same settings and the same administrator's password"
for number in $(seq "$replicas"); do
    start_replica "$number"
    echo "replica $number listens on 127.0.0.1:${ports[$number]}"
done
start_balancer

say "log in once: a login of one replica is good for all"
printf '%s' "$password" | run skopeo login --tls-verify=false --username admin --password-stdin "$host"
printf '%s\n' "$password" | run entrepot login "http://$host" --username admin --password-stdin

# pusher NUMBER: image after image until told to stop; every fourth one is deleted again. What was acknowledged is noted.
pusher() {
    local count=0 name image
    while [ ! -e "$work/stop" ]; do
        sleep 0.3
        count=$((count + 1)) name=app$1-$count image=library/app$1:$count
        make_image "$work/images/$name" "image $count of $story's pusher $1"
        if skopeo copy --quiet --retry-times 8 --dest-tls-verify=false "dir:$work/images/$name" "docker://$host/$image" \
            2>>"$work/skopeo.log"; then
            echo "$image" >"$work/pushed/$name"
        fi
        if [ $((count % 4)) = 0 ] && [ -e "$work/pushed/$name" ]; then
            # From here on nobody may count on it, whatever comes of the request.
            mv "$work/pushed/$name" "$work/deleted/$name"
            skopeo delete --tls-verify=false "docker://$host/$image" 2>>"$work/skopeo.log" || true
        fi
    done
}

collector() {
    while [ ! -e "$work/stop" ]; do
        entrepot collect >>"$work/collect.log" 2>&1 || true
        sleep 1
    done
}

count_pushed() { find "$work/pushed" "$work/deleted" -type f | wc -l; }

# more IMAGES: wait until so many more have been acknowledged.
more() {
    local wanted=$(($(count_pushed) + $1)) limit=$((SECONDS + 120))
    while [ "$(count_pushed)" -lt "$wanted" ]; do
        [ "$SECONDS" -lt "$limit" ] || { echo "pushes do not go on" >&2; tail -n 5 "$work/skopeo.log" >&2; return 1; }
        sleep 0.1
    done
    echo "$(count_pushed) images acknowledged so far"
}

say "three clients push images, and delete every fourth one; meanwhile the collector is asked to run each second"
pushers=()
for number in 1 2 3; do
    pusher "$number" &
    pushers+=("$!")
done
collector &
pushers+=("$!")
helpers=("${pushers[@]}" "${helpers[@]}")
more 4

say "replica 2 is killed, with all of its processes and no warning; pushes go on through the others"
stop_replica 2 KILL
more 4
say "it comes back"
start_replica 2
more 3

say "an upgrade: each replica is told to end, drains, ends, and starts again, in a real one as the next version"
run entrepot migrate --plan
for number in $(seq "$replicas"); do
    stop_replica "$number" TERM
    more 2
    start_replica "$number"
    echo "replica $number is back"
done
more 3
touch "$work/stop"
wait "${pushers[@]}"

say "every image that was acknowledged and not deleted is pulled, and is what was pushed, byte for byte"
pulled=0
for file in "$work"/pushed/*; do
    name=${file##*/} image=$(cat "$file")
    skopeo copy --quiet --src-tls-verify=false "docker://$host/$image" "dir:$work/pulled/$name"
    diff -r "$work/images/$name" "$work/pulled/$name"
    digest=sha256:$(sum "$work/images/$name/manifest.json")
    skopeo copy --quiet --src-tls-verify=false "docker://$host/${image%:*}@$digest" "dir:$work/by-digest/$name"
    diff -r "$work/images/$name" "$work/by-digest/$name"
    pulled=$((pulled + 1))
done
echo "$pulled images pulled by tag and by digest"
[ "$pulled" -ge 15 ]

say "names and bytes agree"
run entrepot check --deep --data "$work/replica1"

say "done"
