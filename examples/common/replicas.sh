# What several replicas share and stand behind; sourced after story.sh. Gives: start_database (sets ENTREPOT_DATABASE__URL),
# start_store (sets ENTREPOT_STORAGE__URL), start_replica NUMBER, stop_replica NUMBER SIGNAL, and start_balancer (sets $host).
replicas=3
declare -A ports running

# await SECONDS WHAT COMMAND...: until a command succeeds.
await() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$work/awaited" 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || { echo "$what was not there in time" >&2; cat "$work/awaited" >&2; return 1; }
        sleep 0.1
    done
}

start_database() {
    local programs folder port as=()
    programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$programs" ] || { echo "$story needs PostgreSQL: apt-get install postgresql" >&2; exit 1; }
    folder=$(mktemp -d "${TMPDIR:-/tmp}/entrepot-$story-database.XXXXXX")
    folders+=("$folder")
    port=$(free_port)
    # PostgreSQL refuses to run as root.
    if [ "$(id -u)" = 0 ]; then
        chown postgres "$folder"
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    say "PostgreSQL on 127.0.0.1:$port"
    (cd "$folder" && "${as[@]}" "$programs/initdb" --pgdata="$folder/data" --auth=trust --username=postgres >"$work/initdb.log")
    (cd "$folder" && exec "${as[@]}" "$programs/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories=) >"$work/postgresql.log" 2>&1 &
    helpers+=("$!")
    await 60 PostgreSQL "$programs/pg_isready" --host=127.0.0.1 --port="$port"
    "$programs/createdb" --host=127.0.0.1 --port="$port" --username=postgres entrepot
    export ENTREPOT_DATABASE__URL="postgresql://postgres@127.0.0.1:$port/entrepot"
}

start_store() {
    local s3 filer master volume
    s3=$(free_port) filer=$(free_port) master=$(free_port) volume=$(free_port)
    export AWS_ACCESS_KEY_ID=entrepot AWS_SECRET_ACCESS_KEY=a-secret-of-$story
    printf '{"identities":[{"name":"entrepot","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Admin"]}]}' \
        "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >"$work/s3.json"
    mkdir "$work/objects"
    say "SeaweedFS as the S3 store on 127.0.0.1:$s3"
    weed server -dir="$work/objects" -filer -s3 -s3.config="$work/s3.json" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port="$master" -master.port.grpc="$(free_port)" -volume.port="$volume" -volume.port.grpc="$(free_port)" \
        -filer.port="$filer" -filer.port.grpc="$(free_port)" -s3.port="$s3" -s3.port.grpc="$(free_port)" \
        -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=50 \
        >"$work/seaweedfs.log" 2>&1 &
    helpers+=("$!")
    await 60 "the bucket" curl --silent --show-error --fail --request POST "http://127.0.0.1:$filer/buckets/blobs/"
    await 60 "the S3 server" curl --silent --show-error "http://127.0.0.1:$s3/"
    export ENTREPOT_STORAGE__URL="s3://blobs/entrepot?endpoint=http://127.0.0.1:$s3"
}

# Each in a group of its own, so that all of its processes can be killed at once.
start_replica() {
    ports[$1]=${ports[$1]:-$(free_port)}
    setsid entrepot serve --data "$work/replica$1" --listen "127.0.0.1:${ports[$1]}" >>"$work/server$1.log" 2>&1 &
    running[$1]=$!
    helpers=("$!" "${helpers[@]}")
    await 60 "replica $1" curl --silent --show-error --fail "http://127.0.0.1:${ports[$1]}/readyz"
}

# TERM tells the parent, which ends the others; KILL is for all of them at once.
stop_replica() {
    local whom=${running[$1]}
    [ "$2" = TERM ] || whom=-$whom
    kill "-$2" -- "$whom"
    wait "${running[$1]}" 2>/dev/null || true
}

start_balancer() {
    local port number servers=
    port=$(free_port)
    for number in $(seq "$replicas"); do
        servers+="    server replica$number 127.0.0.1:${ports[$number]}"$'\n'
    done
    cat >"$work/haproxy.cfg" <<END
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    option redispatch 1
    retries 4
    retry-on conn-failure empty-response
frontend registry
    bind 127.0.0.1:$port
    default_backend replicas
backend replicas
    balance roundrobin
    http-request disable-l7-retry unless METH_GET
    option httpchk GET /readyz
    default-server check inter 200ms fall 1 rise 1
$servers
END
    host=127.0.0.1:$port
    say "haproxy on $host, which gives each request to the next of them"
    haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
    helpers=("$!" "${helpers[@]}")
    await 20 "the load balancer" curl --silent --show-error --fail "http://$host/readyz"
}
