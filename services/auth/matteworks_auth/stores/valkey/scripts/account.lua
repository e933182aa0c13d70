-- Look at an account, or make one, or change it.
-- ARGV, after the common ones: 4 to 7 see audit.lua; 8 monthly credits of the plans that have any, as
-- JSON; 9 verb; create: 10 display name, 11 plan, 12 starting credits, 13 dialect, 14 e-mail; plan: 10
-- plan; update: names and values; grant: 10 request id, 11 balance, 12 credits, 13 seconds for which the
-- request id is remembered; look: none.
-- KEYS: 2 the audit log; 3 the index of accounts.
-- Returns {'account', now, month, day, name, value, name, value, ...}, {'missing'}, {'exists'},
-- {'reused'} or {'overflow'}.
local MONTHLY = cjson.decode(ARGV[8])
local verb = ARGV[9]

local function monthly_of(plan) return MONTHLY[plan] or 0 end

local exists = redis.call('EXISTS', ACCOUNT) == 1
if verb == 'create' then
  if exists then return {'exists'} end
  local credits = int(tonumber(ARGV[12]) + monthly_of(ARGV[11]))
  redis.call('HSET', ACCOUNT, 'display_name', ARGV[10], 'plan', ARGV[11], 'created', int(NOW),
    'dialect', ARGV[13], 'email', ARGV[14], 'subscription', credits, 'payg', 0, 'enterprise', 0,
    'held', 0, 'spent', 0, 'expired', 0, 'granted', credits, 'renewed', int(MONTH), 'emptied', 0,
    'tat', 0, 'tat_requests', 0, 'day', 0, 'day_requests', 0, 'month', 0, 'month_requests', 0,
    'free_day', 0, 'day_free_calls', 0, 'free_month', 0, 'month_free_calls', 0)
  redis.call('ZADD', KEYS[3], 0, string.match(KEYS[1], '{(.*)}'))
  audit('account.create', '', {plan = ARGV[11]})
elseif not exists then
  return {'missing'}
end

release_overdue()
local stored = redis.call('HMGET', ACCOUNT, 'plan', 'renewed', 'subscription')
local plan = stored[1]
local subscription = renew(monthly_of(plan), tonumber(stored[2] or '0'), tonumber(stored[3]))

if verb == 'plan' and ARGV[10] ~= plan then
  redis.call('HSET', ACCOUNT, 'plan', ARGV[10])
  local monthly = monthly_of(ARGV[10])
  if monthly > 0 then
    local granted = tonumber(redis.call('HGET', ACCOUNT, 'granted'))
    local missing = math.min(math.max(0, monthly - subscription), EXACT_LIMIT - 1 - granted)
    redis.call('HINCRBY', ACCOUNT, 'subscription', int(missing))
    redis.call('HINCRBY', ACCOUNT, 'granted', int(missing))
    redis.call('HSET', ACCOUNT, 'renewed', int(MONTH))
  end
  audit('plan.set', '', {plan = ARGV[10], former_plan = plan})
elseif verb == 'update' then
  local changes = {}
  for i = 10, #ARGV, 2 do
    if redis.call('HGET', ACCOUNT, ARGV[i]) ~= ARGV[i + 1] then changes[ARGV[i]] = ARGV[i + 1] end
    redis.call('HSET', ACCOUNT, ARGV[i], ARGV[i + 1])
  end
  if next(changes) then audit('account.update', '', changes) end
elseif verb == 'grant' then
  local key, grant = KEYS[1] .. ':grant:' .. ARGV[10], ARGV[11] .. ':' .. ARGV[12]
  local earlier = redis.call('GET', key)
  if earlier and earlier ~= grant then return {'reused'} end
  if not earlier then
    local granted = tonumber(redis.call('HGET', ACCOUNT, 'granted'))
    -- Beyond this a sum would no longer be exact.
    if granted + tonumber(ARGV[12]) >= EXACT_LIMIT then return {'overflow'} end
    redis.call('HINCRBY', ACCOUNT, ARGV[11], ARGV[12])
    redis.call('HINCRBY', ACCOUNT, 'granted', ARGV[12])
    redis.call('SET', key, grant, 'EX', ARGV[13])
    audit('credits.grant', '', {balance = ARGV[11], credits_milli = ARGV[12], grant_id = ARGV[10]})
  end
end

local reply = {'account', NOW, MONTH, DAY}
for _, part in ipairs(redis.call('HGETALL', ACCOUNT)) do reply[#reply + 1] = part end
return reply
