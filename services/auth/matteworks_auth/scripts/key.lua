-- Change one fact of a key, so that two changes at once never undo each other.
-- KEYS: 1 the key's record. ARGV: 1 verb (plan, expire, revoke), 2 value; times in microseconds.
-- Returns the whole record as names and values, empty when there is none.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local verb, value = ARGV[1], ARGV[2]
if verb == 'plan' then
  redis.call('HSET', KEYS[1], 'plan', value)
else
  -- A key ends once: the earlier end and the first revocation stay.
  local field = verb == 'expire' and 'expires_us' or 'revoked_us'
  local earlier = tonumber(redis.call('HGET', KEYS[1], field))
  if earlier == 0 or (verb == 'expire' and tonumber(value) < earlier) then
    redis.call('HSET', KEYS[1], field, value)
  end
end
return redis.call('HGETALL', KEYS[1])
