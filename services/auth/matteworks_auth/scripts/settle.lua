-- Commit or release one member of a reservation.
-- ARGV: 1 now or 0, 2 owner's request id, 3 member's request id, 4 commit or release.
-- Returns JSON: {kind, amount}; kind is done, missing or released.
local now = now_from(ARGV[1])
local owner, member, verb = ARGV[2], ARGV[3], ARGV[4]
local key = reservation_key(owner)
local field = 'member:' .. member
local state = redis.call('HGET', key, 'state')
local mark = redis.call('HGET', key, field)
if not state or not mark then return cjson.encode({kind = 'missing'}) end
expire(now)
state = redis.call('HGET', key, 'state')

local function done(amount) return cjson.encode({kind = 'done', amount = int(amount)}) end

if verb == 'commit' then
  if string.sub(mark, 1, 8) == 'charged:' then return done(tonumber(string.sub(mark, 9))) end
  if state == 'released' then return cjson.encode({kind = 'released'}) end
  local charged = 0
  if state == 'held' then
    charged = number_in(key, 'amount')
    redis.call('HSET', key, 'state', 'committed')
    redis.call('HINCRBY', account_key, 'held', int(-charged))
    redis.call('HINCRBY', account_key, 'spent', int(charged))
    redis.call('ZREM', open_key, owner)
    count(now, {committed = 1, charged = charged, megapixels = number_in(key, 'megapixels'),
      free_calls = number_in(key, 'is_free_call')})
  end
  redis.call('HSET', key, field, 'charged:' .. int(charged))
  return done(charged)
end

if mark == 'open' then redis.call('HSET', key, field, 'gone') end
if state ~= 'held' then return done(0) end
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 7) == 'member:' and fields[i + 1] == 'open' then return done(0) end
end
return done(give_back(owner, now))
