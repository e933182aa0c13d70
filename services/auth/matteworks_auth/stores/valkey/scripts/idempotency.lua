-- One answer for a request that is sent twice. KEYS[1] is the account's prefix.
-- ARGV: 1 now, or 0 for this server's clock; 2 for how long answers are kept; 3 how many of them;
-- 4 verb; 5 digest of the idempotency key; 6 the attempt that holds it; begin: 7 fingerprint, 8 time of
-- the lease; complete: 7 the answer. Times are microseconds.
-- Returns {'fresh'}, {'answer', text}, {'running', microseconds to wait}, {'other'}, or {1} when the
-- attempt held the key, else {0}.
local NOW = tonumber(ARGV[1])
if NOW == 0 then
  local time = redis.call('TIME')
  NOW = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local TTL_US = tonumber(ARGV[2])
local CALLS = KEYS[1] .. ':calls'  -- sorted set: digests by the time when they are forgotten
local verb, digest, lease = ARGV[4], ARGV[5], ARGV[6]

local function call_key(one) return KEYS[1] .. ':call:' .. one end
local function int(number) return string.format('%.0f', number) end

local function forget(one)
  redis.call('DEL', call_key(one))
  redis.call('ZREM', CALLS, one)
end

local key = call_key(digest)
local stored = redis.call('HMGET', key, 'fingerprint', 'lease', 'lease_end', 'forget', 'answer')
-- The server forgets by its own clock; a caller that brings its own time forgets by that.
if stored[1] and tonumber(stored[4]) <= NOW then
  forget(digest)
  stored = {}
end

if verb == 'begin' then
  if stored[1] and (stored[5] or tonumber(stored[3]) > NOW) then
    if stored[1] ~= ARGV[7] then return {'other'} end
    if stored[5] then return {'answer', stored[5]} end
    if stored[2] ~= lease then return {'running', tonumber(stored[3]) - NOW} end
  end
  -- The record outlives its lease, so that the one who was late may still complete.
  local forget_at = NOW + TTL_US
  redis.call('DEL', key)
  redis.call('HSET', key, 'fingerprint', ARGV[7], 'lease', lease,
    'lease_end', int(NOW + tonumber(ARGV[8])), 'forget', int(forget_at))
  redis.call('PEXPIRE', key, int(math.ceil(TTL_US / 1000)))
  redis.call('ZADD', CALLS, int(forget_at), digest)
  redis.call('PEXPIRE', CALLS, int(math.ceil(TTL_US / 1000)))
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', CALLS, '-inf', int(NOW), 'LIMIT', 0, 100)) do
    forget(old)
  end
  if redis.call('ZCARD', CALLS) > tonumber(ARGV[3]) then
    forget(redis.call('ZRANGE', CALLS, 0, 0)[1])
  end
  return {'fresh'}
end

if stored[2] ~= lease then return {0} end
if verb == 'complete' then
  if not stored[5] then redis.call('HSET', key, 'answer', ARGV[7]) end
elseif not stored[5] then
  forget(digest)
end
return {1}
