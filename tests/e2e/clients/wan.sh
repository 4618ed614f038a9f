#!/bin/sh
# Another family by the same endpoint, in plain sh with curl's own retries for reads: wan2.7-image-to-video.
set -eu
: "${EVOLINK_API_KEY:?}"
url=https://api.evolink.ai/v1
auth="Authorization: Bearer $EVOLINK_API_KEY"
pick() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

made=$(curl --silent --show-error --fail-with-body --max-time 30 -H "$auth" -H 'Content-Type: application/json' \
  --data '{"model":"wan2.7-image-to-video","generation_mode":"first_frame","image_start":"https://image.test/1280x720.jpg","prompt":"Waves","duration":4,"quality":"720p"}' \
  "$url/videos/generations")
id=$(printf '%s' "$made" | pick id)
tries=0
while [ "$tries" -lt 200 ]; do
  tries=$((tries + 1))
  sleep "${POLL:-1}"
  task=$(curl --silent --show-error --fail --retry 3 --max-time 15 -H "$auth" "$url/tasks/$id")
  case $(printf '%s' "$task" | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p') in
    completed) link=$(printf '%s' "$task" | sed -n 's/.*"results":\["\([^"]*\)".*/\1/p')
      curl --silent --show-error --fail --max-time 60 --output "$1" "$link"
      exit 0 ;;
    failed) printf '%s\n' "$task" >&2; exit 1 ;;
  esac
done
echo "still running: $id" >&2
exit 2
