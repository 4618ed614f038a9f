#!/bin/sh
# Image in, video out, with curl and jq-free sh: sh examples/kling.sh IMAGE_URL OUT DEADLINE [PAUSE]
# What it does not do stands in kling.sh.report.md, as `kling-contract client` found it.
image=$1 out=$2 deadline=$3 pause=${4:-${KLING_MIN_POLL:-5}} base=${KLING_BASE_URL:-https://api.evolink.ai}
member() { sed -n "s/.*\"$1\":[ ]*\"\([^\"]*\)\".*/\1/p"; }
call() { curl -sS --max-time "$deadline" -A kling-sh/1 -w '\n%{http_code}' -H @- "$@" <<HEADERS
Authorization: Bearer $KLING_API_KEY
Content-Type: application/json
HEADERS
}
say() { printf '%s\n' "$1" >&2; }

body=$(printf '{"model":"kling-v3-turbo-image-to-video","image_start":"%s","duration":%s}' "$image" "${KLING_DURATION:-5}")
answer=$(call -d "$body" "$base/v1/videos/generations") || { say "outcome unknown: it may have been accepted"; exit 6; }
status=${answer##*
}
[ "$status" = 200 ] || { say "refused ($status): $answer"; exit 4; }
id=$(printf %s "$answer" | member id)
[ -n "$id" ] || { say "outcome unknown: $answer"; exit 6; }
say "$id accepted"
end=$(($(date +%s) + ${deadline%.*}))
while sleep "$pause"; do
  [ "$(date +%s)" -lt "$end" ] || { say "gave up: $id may still be running"; exit 5; }
  answer=$(call "$base/v1/tasks/$id") || continue
  case ${answer##*
} in 401 | 402 | 403 | 404) say "cannot be read: $answer"; exit 4 ;; esac
  case $(printf %s "$answer" | member status) in completed) break ;; failed) say "failed: $answer"; exit 3 ;; esac
done
link=$(printf %s "$answer" | sed -n 's/.*"results":[ ]*\["\([^"]*\)".*/\1/p')
curl -sSf --max-time "$deadline" --max-filesize 268435456 -o "$out.part" "$link" && mv "$out.part" "$out" || { rm -f "$out.part"; exit 8; }
