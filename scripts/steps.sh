# Sourced by scripts that run several steps: `step COMMAND...` says what runs and, where $STEPS names a file, notes how long it took.
# Container images forbid to keep compiled Python, and then each of the thousand processes that follow compiles the checkout anew.
unset PYTHONDONTWRITEBYTECODE
step() {
  local began=$SECONDS code=0
  echo "--- $* ($(date +%T))"
  "$@" || code=$?
  [ -z "${STEPS:-}" ] || echo "$((SECONDS - began)) s  $*" >>"$STEPS"
  return "$code"
}

# Both at once; what the second says is shown when the first has ended: `side_by_side FUNCTION FUNCTION`.
side_by_side() {
  local said code=0
  said=$(mktemp)
  "$2" >"$said" 2>&1 &
  "$1" || code=$?
  wait $! || code=$?
  cat "$said"
  rm -f "$said"
  return "$code"
}
