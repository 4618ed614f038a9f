#!/usr/bin/env bash
# Text to video with curl: kling-v3-turbo-text-to-video.
set -euo pipefail
api=https://api.evolink.ai/v1
field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1].split("."): value = value[int(step) if step.isdecimal() else step]
print(value)' "$1"; }
task=$(curl -fsS "$api/videos/generations" -H "Authorization: Bearer $EVOLINK_API_KEY" -H 'Content-Type: application/json' \
  -d '{"model": "kling-v3-turbo-text-to-video", "prompt": "A cat", "quality": "1080p", "duration": 3}')
id=$(field id <<<"$task")
while :; do
  task=$(curl -fsS "$api/tasks/$id" -H "Authorization: Bearer $EVOLINK_API_KEY")
  case $(field status <<<"$task") in
    completed) break ;;
    failed) field error.code <<<"$task" >&2; exit 1 ;;
  esac
  sleep "${POLL:-1}"
done
curl -fsS -o "$1" "$(field results.0 <<<"$task")"
