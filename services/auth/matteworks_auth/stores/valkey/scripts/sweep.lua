-- Give back the overdue requests of one account; only the common ARGV.
-- Returns how many, and the microseconds until the next one is due, -1 when none is open.
local released_count = release_overdue()
local next_due = redis.call('ZRANGE', OPEN, 0, 0, 'WITHSCORES')
if not next_due[1] then return {released_count, -1} end
return {released_count, math.max(0, tonumber(next_due[2]) - NOW)}
