-- Take one request of the rate limit for a call that holds no credits.
-- ARGV, after the common ones: 4 request id; 5 key id; 6 dialect; 7 scope; 8 the plan that the caller
-- expects, and its 9 requests a minute.
-- Returns {'counted', limit, now, tat}, {'missing'}, {'plan', actual plan}, or the refusal
-- {'rate', microseconds to wait, limit, now, tat, ''}.
local plan = redis.call('HGET', ACCOUNT, 'plan')
if not plan then return {'missing'} end
if plan ~= ARGV[8] then return {'plan', plan} end
local key_id, dialect, limit = ARGV[5], ARGV[6], tonumber(ARGV[9])
local meter = meter_of(ARGV[7], key_id)
local counted = KEYS[1] .. ':counted:' .. ARGV[4]
local tat = math.max(tonumber(redis.call('HGET', meter, 'tat_requests') or '0'), NOW)
-- The server forgets by its own clock; a caller that brings its own time forgets by that.
if tonumber(redis.call('GET', counted) or '0') > NOW then return {'counted', limit, NOW, tat} end

note_use(key_id)
local new_tat, wait_us = weigh(tat, limit, 1)
if not new_tat then
  count(dialect, key_id, 'calls', 1, 'refused_rate', 1)
  return {'rate', wait_us, limit, NOW, tat, ''}
end
redis.call('SET', counted, int(NOW + WINDOW_US), 'PX', WINDOW_US / 1000)
redis.call('HSET', meter, 'tat_requests', int(new_tat))
if meter ~= ACCOUNT then redis.call('EXPIRE', meter, METER_TTL_S) end
count(dialect, key_id, 'calls', 1)
return {'counted', limit, NOW, new_tat}
