-- One load: METHOD, BODY and KEY come from the environment (the path is in the URL); the result is one JSON line.
-- No `request` function, so wrk formats the request once and the load costs the client as little as it can.
wrk.method = os.getenv("METHOD")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
if wrk.method == "POST" then
  wrk.body = os.getenv("BODY")
  wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency)
  local lost = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    lost.connect + lost.read + lost.write + lost.timeout + lost.status))
end
