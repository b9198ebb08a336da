-- For wrk: sends the requests of a file, drawn at random; a line of it is METHOD, PATH and BODY with tabs between.
-- Prints one line of JSON: requests answered, microseconds taken, errors, latency in microseconds.

local requests = {}

function init(args)
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {}
    if body == "" then body = nil else headers["Content-Type"] = "application/json" end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  math.randomseed(tonumber(args[2]))
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read
  wrong = wrong + summary.errors.write + summary.errors.timeout
  io.write(string.format('\n{"requests": %d, "duration": %d, "errors": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, wrong, latency:percentile(50), latency:percentile(99)))
end
