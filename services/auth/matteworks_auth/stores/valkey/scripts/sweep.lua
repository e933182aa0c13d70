-- Give back the overdue requests of one account; only the common ARGV.
-- Returns how many, and the microseconds until the next one is due, -1 when none is open.
local released_count = release_overdue()
local wait_us = -1
for _, queue in ipairs({OPEN, DEFERRED}) do
  local next_due = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if next_due[1] then
    local queue_wait_us = math.max(0, tonumber(next_due[2]) - NOW)
    if wait_us < 0 or queue_wait_us < wait_us then wait_us = queue_wait_us end
  end
end
return {released_count, wait_us}
