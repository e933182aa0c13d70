-- Check rate, quota, concurrency and balance, in this order, and hold the credits.
-- ARGV: 1 now or 0, 2 request id, 3 key id, 4 prices (JSON: [[credits_milli, is_free_call_eligible]]),
-- 5 megapixels, 6 fingerprint, 7 time to live, 8 plans (JSON by name), 9 repeat window, 10 record time
-- to live; times in microseconds, the last in seconds.
-- Returns JSON: {kind, ...}; kind is held, reused, missing, rate, quota, concurrency or credits.
local now = now_from(ARGV[1])
local request_id, key_id = ARGV[2], ARGV[3]
local prices, megapixels, fingerprint = cjson.decode(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time_to_live, plans = tonumber(ARGV[7]), cjson.decode(ARGV[8])
local repeat_window, record_ttl_s = tonumber(ARGV[9]), tonumber(ARGV[10])

local plan_name = redis.call('HGET', account_key, 'plan')
if not plan_name then return cjson.encode({kind = 'missing'}) end
local plan = plans[plan_name]
expire(now)
roll_month(now)

local limit = plan.megapixels_per_minute
local tat = number_in(account_key, 'tat')
local function rate_fields(at, remaining)
  return int(limit), int(remaining), int(at)
end

local function held(key, owner, is_repeat, at, remaining)
  local l, r, reset = rate_fields(at, remaining)
  return cjson.encode({
    kind = 'held', owner = owner, amount = redis.call('HGET', key, 'amount'),
    price_index = redis.call('HGET', key, 'price_index'), limit = l, remaining = r, reset = reset,
    expires = redis.call('HGET', key, 'expires'), is_repeat = is_repeat,
  })
end

-- The same request again: the first answer.
local shape = ARGV[4] .. '|' .. ARGV[5] .. '|' .. ARGV[6]
local owner = redis.call('GET', KEYS[1] .. ':owner:' .. request_id)
if owner then
  local key = reservation_key(owner)
  if redis.call('HGET', key, 'shape') ~= shape then return cjson.encode({kind = 'reused'}) end
  return held(key, owner, owner ~= request_id, number_in(key, 'tat'), number_in(key, 'remaining'))
end

local _, looked_at, looked_remaining = weigh(tat, now, limit, 0)

-- An equal upload of the same account: it joins the first one's reservation.
local fingerprint_key = KEYS[1] .. ':fingerprint:' .. fingerprint
if fingerprint ~= '' then
  local first = redis.call('HMGET', fingerprint_key, 'owner', 'until')
  if first[1] and now < tonumber(first[2]) then
    local key = reservation_key(first[1])
    local state = redis.call('HGET', key, 'state')
    if state and state ~= 'released' then
      local expires = math.max(number_in(key, 'expires'), now + time_to_live)
      redis.call('HSET', key, 'expires', int(expires), 'member:' .. request_id, 'open')
      if state == 'held' then redis.call('ZADD', open_key, int(expires), first[1]) end
      redis.call('SET', KEYS[1] .. ':owner:' .. request_id, first[1], 'EX', record_ttl_s)
      return held(key, first[1], true, looked_at, looked_remaining)
    end
  end
end

local function refuse(kind, retry_after)
  count(now, {refused = 1})
  local l, r, reset = rate_fields(looked_at, looked_remaining)
  return cjson.encode({kind = kind, retry_after = int(retry_after), limit = l, remaining = r, reset = reset})
end

local allowed, new_tat, remaining, retry_after = weigh(tat, now, limit, megapixels)
if not allowed then return refuse('rate', retry_after) end
local open_count = redis.call('ZCARD', open_key)
if plan.requests_per_day > 0 and number_in(usage_key(now), 'committed') + open_count >= plan.requests_per_day then
  return refuse('quota', DAY_US - now % DAY_US)
end
if plan.requests_per_month > 0 and number_in(account_key, 'month_requests') >= plan.requests_per_month then
  return refuse('quota', until_next_month_us(now))
end
if plan.concurrent_requests > 0 and open_count >= plan.concurrent_requests then
  return refuse('concurrency', 1000000)
end

local free_calls = plan.free_calls_per_month - number_in(account_key, 'month_free_calls')
local balances, available = {}, 0
for _, name in ipairs(SPENDING_ORDER) do
  balances[name] = number_in(account_key, name)
  available = available + balances[name]
end
local chosen, amount, is_free_call, parts = nil, 0, 0, {}
for index, price in ipairs(prices) do
  if price[2] and free_calls > 0 and price[1] > 0 then
    chosen, is_free_call = index - 1, 1
    break
  end
  if price[1] <= available then
    chosen, amount = index - 1, price[1]
    local rest = amount
    for _, name in ipairs(SPENDING_ORDER) do
      local part = math.min(rest, balances[name])
      if part > 0 then parts[name] = part end
      rest = rest - part
    end
    break
  end
end
if not chosen then return refuse('credits', 0) end

for name, part in pairs(parts) do redis.call('HINCRBY', account_key, name, int(-part)) end
redis.call('HINCRBY', account_key, 'held', int(amount))
redis.call('HINCRBY', account_key, 'month_requests', 1)
redis.call('HINCRBY', account_key, 'month_free_calls', is_free_call)
redis.call('HSET', account_key, 'tat', int(new_tat))

local key = reservation_key(request_id)
local expires = now + time_to_live
redis.call('HSET', key,
  'state', 'held', 'amount', int(amount), 'price_index', int(chosen), 'is_free_call', is_free_call,
  'megapixels', int(megapixels), 'key_id', key_id, 'shape', shape, 'expires', int(expires),
  'tat', int(new_tat), 'remaining', int(remaining), 'member:' .. request_id, 'open')
for name, part in pairs(parts) do redis.call('HSET', key, 'part_' .. name, int(part)) end
redis.call('EXPIRE', key, record_ttl_s)
redis.call('ZADD', open_key, int(expires), request_id)
redis.call('SET', KEYS[1] .. ':owner:' .. request_id, request_id, 'EX', record_ttl_s)
if fingerprint ~= '' then
  redis.call('HSET', fingerprint_key, 'owner', request_id, 'until', int(now + repeat_window))
  redis.call('PEXPIRE', fingerprint_key, int(math.max(1, math.floor(repeat_window / 1000) * 2)))
end
return held(key, request_id, false, new_tat, remaining)
