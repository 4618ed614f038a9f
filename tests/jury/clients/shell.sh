#!/bin/sh
# Clients for curl: `sh shell.sh right|retries-post|hides-failure`.
name=$1
base=${KLING_BASE_URL%/}
end=$(awk -v s="$KLING_DEADLINE" 'BEGIN { srand(); print srand() + int(s) }')
pause=$(awk -v s="$KLING_MIN_POLL" 'BEGIN { print s * 1.1 + 0.05 }')
now() { date +%s; }
die() { echo "$2" >&2; exit "$1"; }
case $base in http://127.0.0.1*|http://localhost*|https://*) ;; *) die 4 "the base URL is not encrypted" ;; esac
body=$(jq -n --arg image "$KLING_IMAGE" --arg prompt "$KLING_PROMPT" --arg quality "$KLING_QUALITY" --arg duration "$KLING_DURATION" \
  '{model: "kling-v3-turbo-image-to-video", image_start: $image}
   + (if $prompt != "" then {prompt: $prompt} else {} end) + (if $quality != "" then {quality: $quality} else {} end)
   + (if $duration != "" then {duration: ($duration | tonumber)} else {} end)')
again=""
[ "$name" = retries-post ] && again="--retry 3 --retry-delay 1 --retry-all-errors"
api() { # METHOD PATH: the body into ./got, prints the status
  # shellcheck disable=SC2086
  printf '%s' "$body" | curl -sS -m 8 -A jury-shell/1 -o got -D head -w '%{http_code}' -X "$1" $again $3 \
    -H @headers -H 'Content-Type: application/json' "$base$2" 2>/dev/null || true
}
umask 077
printf 'Authorization: Bearer %s\n' "$KLING_API_KEY" > headers
trap 'rm -f headers' EXIT
asked() { # seconds of Retry-After, also from a date
  value=$(sed -n 's/^[Rr]etry-[Aa]fter: *//p' head 2>/dev/null | tr -d '\r')
  case $value in ''|*[!0-9]*) [ -n "$value" ] && t=$(date -d "$value" +%s 2>/dev/null) && echo $((t - $(now) + 1)) || echo 0 ;; *) echo "$value" ;; esac
}
for attempt in 1 2 3 4; do
  : > head
  status=$(api POST /v1/videos/generations "--data-binary @-")
  [ "$status" = 429 ] || break
  wait=$(asked); [ $(($(now) + wait)) -lt "$end" ] || die 5 "rate limited, no time left"
  sleep "$wait"; sleep "$pause"
done
case $status in
  200) id=$(jq -re .id got 2>/dev/null) || die 6 "no task in the response: one may have been made" ;;
  4??) die 4 "$status: refused (credits, key or request)" ;;
  *) die 6 "no good response to the create: a task may have been made" ;;
esac
again=""
echo "task $id"
path=$(printf '%s' "$id" | jq -sRr @uri)
errors=0
while :; do
  [ "$(now)" -lt "$end" ] || die 5 "gave up on $id: it may still be running"
  sleep "$pause"
  i=0; while [ $i -lt $errors ] && [ $i -lt 3 ]; do sleep "$pause"; sleep "$pause"; i=$((i + 1)); done
  : > head
  status=$(api GET "/v1/tasks/$path")
  state=$([ "$status" = 200 ] && jq -re .status got 2>/dev/null)
  case "$status:$state" in
    200:completed) break ;;
    200:failed|200:cancelled)
      [ "$name" = hides-failure ] && exit 0
      die 3 "$id: $(jq -r '.error.code + ": " + .error.message' got)" ;;
    200:?*) errors=0 ;;
    429:*) wait=$(asked); [ $(($(now) + wait)) -lt "$end" ] || die 5 "gave up on $id: it may still be running"; sleep "$wait"; errors=$((errors + 1)) ;;
    404:*) errors=$((errors + 1)); [ $errors -lt 3 ] || die 4 "$id: 404" ;;
    4??:*) die 4 "$id: $status: the API key cannot read it" ;;
    *) errors=$((errors + 1)) ;;
  esac
done
for attempt in 1 2 3; do
  link=$(jq -re '.results[0]' got) || die 3 "$id is completed, but has no results"
  status=$(curl -sS -m 15 --max-filesize 33554432 -A jury-shell/1 -o "$KLING_OUT.part" -w '%{http_code}' "$link" 2>/dev/null) && fine=yes || fine=no
  if [ "$fine$status" = yes200 ]; then
    [ "$(dd if="$KLING_OUT.part" bs=1 skip=4 count=4 2>/dev/null)" = ftyp ] || die 8 "the link serves no video"
    mv "$KLING_OUT.part" "$KLING_OUT" && exit 0
  fi
  rm -f "$KLING_OUT.part"
  sleep "$pause"
  case $status in 403|404|410) api GET "/v1/tasks/$path" > /dev/null ;; esac
done
die 8 "$id is completed, but its video cannot be saved"
