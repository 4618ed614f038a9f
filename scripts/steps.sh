# Sourced by scripts that run several steps: `step COMMAND...` says what runs and, where $STEPS names a file, notes how long it took.
step() {
  local began=$SECONDS code=0
  echo "--- $* ($(date +%T))"
  "$@" || code=$?
  [ -z "${STEPS:-}" ] || echo "$((SECONDS - began)) s  $*" >>"$STEPS"
  return "$code"
}
