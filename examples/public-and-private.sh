#!/usr/bin/env bash
# Two users, a private and a public namespace, a grant: who gets what. With entrepot's command line and skopeo.
#
#   make example NAME=public-and-private
source "$(dirname "$0")/common/story.sh"
need skopeo skopeo
start_server
export HOME=$work/home
mkdir "$HOME"

# pull AS NAME: whether somebody gets an image; AS is "nobody" or a user.
pull() {
    local credentials=(--creds "$1:password-of-$1")
    [ "$1" != nobody ] || credentials=(--no-creds)
    skopeo inspect --raw --tls-verify=false "${credentials[@]}" "docker://$host/$2" >"$work/answer" 2>&1
}
may() { pull "$1" "$2" && echo "$1 gets $2"; }
may_not() {
    if pull "$1" "$2"; then
        echo "$1 got $2, which was to be refused" >&2
        return 1
    fi
    echo "$1 does not get $2: $(grep -oE 'msg=.*(unauthorized|denied|unknown|known)' "$work/answer" | sed 's/.*: *//')"
}
push() { run skopeo copy --quiet --dest-tls-verify=false --dest-creds "$1:password-of-$1" "dir:$work/image" "docker://$host/$2"; }

say "log in with the command line, as the administrator"
printf '%s\n' "$password" | run entrepot login "http://$host" --username admin --password-stdin

say "two users, and a namespace of the team that alice owns"
for name in alice bob; do
    printf 'password-of-%s\n' "$name" | run entrepot user add "$name" --password-stdin
done
run entrepot namespace create team --owner alice

say "alice pushes to the team's namespace; a new namespace is private"
make_image "$work/image" "hello from $story"
push alice team/app:1.0
may alice team/app:1.0
may_not bob team/app:1.0
may_not nobody team/app:1.0

say "bob becomes a reader: it works at once, without a new login"
run entrepot namespace grant team bob reader
sleep 1.5
may bob team/app:1.0
if push bob team/app:2.0 >"$work/answer" 2>&1; then
    echo "a reader was able to push" >&2
    exit 1
fi
echo "bob may not push there"

say "everybody may push below their own name, and what is public anybody may pull"
push bob bob/tool:1.0
may_not nobody bob/tool:1.0
run entrepot namespace set bob --public
sleep 1.5
may nobody bob/tool:1.0
may_not nobody team/app:1.0

say "done"
