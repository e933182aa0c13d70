-- Make, change or look at an account.
-- ARGV, after the common ones: 4 verb; create: 5 display name, 6 plan, 7 credits; plan: 5 plan;
-- grant: 5 request id, 6 balance, 7 credits, 8 seconds for which the request id is remembered; look: none.
-- Returns {'account', now, month, name, value, name, value, ...}, {'missing'}, {'exists'}, {'reused'}
-- or {'overflow'}.
local verb = ARGV[4]
local exists = redis.call('EXISTS', ACCOUNT) == 1
if verb == 'create' then
  if exists then return {'exists'} end
  redis.call('HSET', ACCOUNT, 'display_name', ARGV[5], 'plan', ARGV[6], 'created', int(NOW),
    'subscription', ARGV[7], 'payg', 0, 'enterprise', 0, 'held', 0, 'spent', 0, 'granted', ARGV[7],
    'tat', 0, 'day', 0, 'day_requests', 0, 'month', 0, 'month_requests', 0, 'month_free_calls', 0)
elseif not exists then
  return {'missing'}
elseif verb == 'plan' then
  redis.call('HSET', ACCOUNT, 'plan', ARGV[5])
elseif verb == 'grant' then
  local key, grant = KEYS[1] .. ':grant:' .. ARGV[5], ARGV[6] .. ':' .. ARGV[7]
  local earlier = redis.call('GET', key)
  if earlier and earlier ~= grant then return {'reused'} end
  if not earlier then
    local granted = tonumber(redis.call('HGET', ACCOUNT, 'granted'))
    -- Beyond this a sum would no longer be exact.
    if granted + tonumber(ARGV[7]) >= 9007199254740992 then return {'overflow'} end
    redis.call('HINCRBY', ACCOUNT, ARGV[6], ARGV[7])
    redis.call('HINCRBY', ACCOUNT, 'granted', ARGV[7])
    redis.call('SET', key, grant, 'EX', ARGV[8])
  end
end
release_overdue()

local reply = {'account', NOW, MONTH}
for _, part in ipairs(redis.call('HGETALL', ACCOUNT)) do reply[#reply + 1] = part end
return reply
