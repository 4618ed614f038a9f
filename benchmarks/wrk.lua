-- One load: METHOD, BODY, KEY, MORE headers (a line each) and NUMBERED come from the environment (the path is in the URL); the result is one
-- JSON line. Without a NUMBERED header there is no `request` function, so wrk formats the request once and the load costs the client least.
wrk.method = os.getenv("METHOD")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
for name, value in os.getenv("MORE"):gmatch("([^:\n]+): ([^\n]*)") do
  wrk.headers[name] = value
end
if wrk.method == "POST" then
  wrk.body = os.getenv("BODY")
  wrk.headers["Content-Type"] = "application/json"
end

local numbered, count = os.getenv("NUMBERED"), 0
if numbered ~= "" then
  -- The clock keeps the numbers of one load apart from those of the one before.
  local first = os.time() .. "-" .. math.floor(os.clock() * 1e6) .. "-"
  function request()
    count = count + 1
    wrk.headers[numbered] = first .. count
    return wrk.format()
  end
end

function done(summary, latency)
  local lost = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    lost.connect + lost.read + lost.write + lost.timeout + lost.status))
end
