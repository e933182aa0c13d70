-- Commit or release one request.
-- ARGV, after the common ones: 4 commit or release; 5 the owner's request id; 6 the caller's; 7 how long
-- the work took in milliseconds, -1 when not told.
-- Returns {'done', thousandths of a credit, what the account may still spend, what it was ever given},
-- {'missing'} or {'released'}.
release_overdue()

local record = load(ARGV[6])
if not record then return {'missing'} end
if ARGV[5] ~= (record.owner == '' and record.id or record.owner) then return {'missing'} end

local function done(credits)
  local parts = redis.call('HMGET', ACCOUNT, 'subscription', 'payg', 'enterprise', 'granted')
  return {'done', credits, tonumber(parts[1]) + tonumber(parts[2]) + tonumber(parts[3]), tonumber(parts[4])}
end

if ARGV[4] == 'release' then
  if record.state ~= 'open' then return done(0) end
  return done(release(record))
end

if record.state == 'released' then return {'released'} end
if record.state == 'committed' then return done(record.charged) end
local owner = close(record, 'committed')
local charged, free_calls = 0, 0
if owner.charge == 'held' then
  charged, free_calls = owner.credits, owner.is_free_call
  if owner.id == record.id then
    redis.call('HSET', record_key(owner.id), 'charge', 'charged', 'charged', int(charged))
  else
    redis.call('HSET', record_key(owner.id), 'charge', 'charged')
    redis.call('HSET', record_key(record.id), 'charged', int(charged))
  end
  if charged > 0 then
    redis.call('HINCRBY', ACCOUNT, 'held', int(-charged))
    redis.call('HINCRBY', ACCOUNT, 'spent', int(charged))
  end
end
local took_ms = tonumber(ARGV[7])
count(record.dialect, record.key, 'calls', calls_of(record.urgency), 'committed', 1,
  'megapixels', record.megapixels, 'charged', charged, 'free_calls', free_calls,
  'timed', took_ms >= 0 and 1 or 0, 'processing_ms', math.max(0, took_ms))
return done(charged)
