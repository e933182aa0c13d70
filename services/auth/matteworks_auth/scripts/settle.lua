-- Commit or release one request.
-- ARGV, after the common ones: 4 commit or release; 5 the owner's request id; 6 the caller's.
-- Returns {'done', thousandths of a credit, 1 when this call did it}, {'missing'} or {'released'}.
release_overdue()

local record = load(ARGV[6])
if not record then return {'missing'} end
if ARGV[5] ~= (record.owner == '' and record.id or record.owner) then return {'missing'} end

if ARGV[4] == 'release' then
  if record.state ~= 'open' then return {'done', 0, 0} end
  return {'done', release(record), 1}
end

if record.state == 'released' then return {'released'} end
if record.state == 'committed' then return {'done', record.charged, 0} end
local owner = close(record, 'committed')
local charged = 0
if owner.charge == 'held' then
  charged = owner.credits
  redis.call('HSET', record_key(owner.id), 'charge', 'charged')
  if charged > 0 then
    redis.call('HINCRBY', ACCOUNT, 'held', int(-charged))
    redis.call('HINCRBY', ACCOUNT, 'spent', int(charged))
    redis.call('HSET', record_key(record.id), 'charged', int(charged))
  end
  count('charged', charged)
  count('free_calls', owner.is_free_call)
end
count('committed', 1)
count('megapixels', record.megapixels)
return {'done', charged, 1}
