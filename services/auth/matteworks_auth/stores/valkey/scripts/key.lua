-- Make or change a key, so that two changes at once never undo each other.
-- KEYS: 2 the audit log; 3 the key's record; rotate: 4 the successor's.
-- ARGV, after the common ones: 4 to 7 see audit.lua; 8 the key's id; 9 verb; create: 10 on, names and
-- values; update: 10 when it ends, 0 for no change, 11 on, names and values; revoke: 10 when; rotate:
-- 10 when the old key ends, 11 on, names and values of the successor. Times are microseconds.
-- Returns the record that was made or changed as names and values, empty when there is none, or
-- {'missing'} for a new key of no account.
local KEY, ID, verb = KEYS[3], ARGV[8], ARGV[9]

local function put(key, first)
  if redis.call('EXISTS', ACCOUNT) == 0 then return false end
  local parts = {}
  for i = first, #ARGV do parts[#parts + 1] = ARGV[i] end
  redis.call('HSET', key, unpack(parts))
  redis.call('SADD', KEYS[1] .. ':keys', redis.call('HGET', key, 'key_id'))
  return true
end

-- A key ends once: the earlier end and the first revocation stay. Returns whether this changed anything.
local function finish(field, at)
  local earlier = tonumber(redis.call('HGET', KEY, field))
  if earlier > 0 and (field == 'revoked_us' or tonumber(at) >= earlier) then return false end
  redis.call('HSET', KEY, field, at)
  return true
end

-- A command may be sent twice: a new key that stands there already is of this very call.
if verb == 'create' then
  if redis.call('EXISTS', KEY) == 1 then return redis.call('HGETALL', KEY) end
  if not put(KEY, 10) then return {'missing'} end
  audit('key.create', ID, {name = redis.call('HGET', KEY, 'display_name')})
  return redis.call('HGETALL', KEY)
end
if redis.call('EXISTS', KEY) == 0 then return {} end
if verb == 'rotate' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return redis.call('HGETALL', KEYS[4]) end
  if not put(KEYS[4], 11) then return {'missing'} end
  finish('expires_us', ARGV[10])
  audit('key.rotate', ID, {new_key_id = redis.call('HGET', KEYS[4], 'key_id')})
  return redis.call('HGETALL', KEYS[4])
elseif verb == 'revoke' then
  if finish('revoked_us', ARGV[10]) then audit('key.revoke', ID, {}) end
else
  local changes = {}
  if ARGV[10] ~= '0' and finish('expires_us', ARGV[10]) then changes.expires_us = ARGV[10] end
  for i = 11, #ARGV, 2 do
    if redis.call('HGET', KEY, ARGV[i]) ~= ARGV[i + 1] then changes[ARGV[i]] = ARGV[i + 1] end
    redis.call('HSET', KEY, ARGV[i], ARGV[i + 1])
  end
  if next(changes) then audit('key.update', ID, changes) end
end
return redis.call('HGETALL', KEY)
