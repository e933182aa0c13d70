-- Check rate limit, quota, concurrency and balance, in this order, and hold the credits.
--
-- ARGV, after the common ones: 4 request id; 5 shape (digest of what may not change in a repeat);
-- 6 megapixels; 7 fingerprint; 8 time to live; 9 window for equal uploads; 10 key id; 11 dialect;
-- 12 rate unit (megapixels, requests, none); 13 scope (account, key); 14 urgency (interactive, deferred);
-- 15 the plan that the caller expects, and its 16 units a minute, 17 concurrent requests, 18 requests a
-- day, 19 requests a month (0: unlimited), 20 monthly credits, 21 free calls a day, 22 free calls a
-- month; 23 1 to look and change nothing; then two for each price: thousandths of a credit, 1 when a free call may pay it.
--
-- Returns {'held', owner, credits, price index, unit, limit, now, tat, expires, is repeat}, {'missing'},
-- {'reused'}, {'plan', actual plan}, or a refusal {kind, microseconds to wait, limit, now, tat, detail}.
local id, shape, megapixels, fingerprint = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local expires, window_us = NOW + tonumber(ARGV[8]), tonumber(ARGV[9])
local key_id, dialect, unit, scope, urgency = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local limit, max_concurrent = tonumber(ARGV[16]), tonumber(ARGV[17])
local max_a_day, max_a_month = tonumber(ARGV[18]), tonumber(ARGV[19])
local free_a_day, free_a_month = tonumber(ARGV[21]), tonumber(ARGV[22])
local is_dry = ARGV[23] == '1'
local FIRST_PRICE = 24
local WEIGHTS = {megapixels = megapixels, requests = 1, none = 0}
local TATS = {megapixels = 'tat', requests = 'tat_requests', none = 'tat'}

local function answer(record)
  local owner = record.owner == '' and record.id or record.owner
  return {'held', owner, record.credits, record.price_index, record.unit, record.limit, record.made,
    record.tat, record.expires, record.owner == '' and 0 or 1}
end

release_overdue()

local earlier = load(id)
if earlier then
  if earlier.shape ~= shape then return {'reused'} end
  return answer(earlier)
end

local stored = redis.call('HMGET', ACCOUNT, 'plan', 'renewed', 'subscription', 'payg', 'enterprise',
  'held', 'free_day', 'day_free_calls', 'free_month', 'month_free_calls',
  TATS[unit], 'day', 'day_requests', 'month', 'month_requests')
if not stored[1] then return {'missing'} end
if stored[1] ~= ARGV[15] then return {'plan', stored[1]} end
if not is_dry then note_use(key_id) end

local meter = meter_of(scope, key_id)
local metered, at = stored, 10
if meter ~= ACCOUNT then
  metered, at = redis.call('HMGET', meter, TATS[unit], 'day', 'day_requests', 'month', 'month_requests'), 0
end
local tat = math.max(tonumber(metered[at + 1] or '0'), NOW)
local day_requests = tonumber(metered[at + 2] or '0') == DAY and tonumber(metered[at + 3]) or 0
local month_requests = tonumber(metered[at + 4] or '0') == MONTH and tonumber(metered[at + 5]) or 0
local day_free_calls = tonumber(stored[7] or '0') == DAY and tonumber(stored[8]) or 0
local month_free_calls = tonumber(stored[9] or '0') == MONTH and tonumber(stored[10]) or 0

local function refuse(kind, wait_us, detail)
  if not is_dry then count(dialect, key_id, 'calls', calls_of(urgency), 'refused_' .. kind, 1) end
  return {kind, wait_us, limit, NOW, tat, detail or ''}
end

local function is_crowded()
  if urgency == 'deferred' or max_concurrent == 0 then return false end
  return redis.call('ZCARD', OPEN) - redis.call('SCARD', DEFERRED) >= max_concurrent
end

local function seen(owner, credits, price_index, is_repeat)
  return {'held', owner, credits, price_index, unit, limit, NOW, tat, expires, is_repeat}
end

-- What stood here is forgotten by the caller's time, maybe not yet by the server's.
local function save(record, ...)
  local key = record_key(id)
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', 'open', 'owner', record.owner, 'shape', shape, 'unit', unit,
    'scope', scope, 'key', key_id, 'dialect', dialect, 'urgency', urgency,
    'credits', int(record.credits), 'price_index', record.price_index, 'megapixels', megapixels,
    'limit', int(limit), 'tat', int(record.tat), 'made', int(NOW), 'expires', int(expires), ...)
  redis.call('ZADD', OPEN, int(expires), id)
  if urgency == 'deferred' then redis.call('SADD', DEFERRED, id) end
  record.id, record.unit, record.limit, record.made, record.expires = id, unit, limit, NOW, expires
  return answer(record)
end

-- An equal upload of the same account shares the charge of the first, and costs no rate and no quota.
local equal_key = KEYS[1] .. ':equal:' .. fingerprint
if fingerprint ~= '' and window_us > 0 then
  local first = redis.call('GET', equal_key)
  local owner = first and load(first)
  if owner and owner.charge ~= 'returned' and owner.shape == shape and NOW < owner.made + window_us then
    if is_crowded() then return refuse('concurrency', 1000000) end
    if is_dry then return seen(owner.id, 0, owner.price_index, 1) end
    redis.call('HINCRBY', record_key(owner.id), 'open_members', 1)
    redis.call('HSET', record_key(owner.id), 'forget', 0)
    redis.call('PERSIST', record_key(owner.id))
    local credits = owner.charge == 'held' and owner.credits or 0
    return save({owner = owner.id, credits = credits, price_index = owner.price_index, tat = tat})
  end
end

local new_tat, wait_us = weigh(tat, limit, WEIGHTS[unit])
if not new_tat then return refuse('rate', wait_us) end
if max_a_day > 0 and day_requests >= max_a_day then
  return refuse('quota', (DAY + 1) * DAY_US - NOW, 'requests_per_day')
end
if max_a_month > 0 and month_requests >= max_a_month then
  return refuse('quota', first_day_of(MONTH + 1) * DAY_US - NOW, 'requests_per_month')
end
if is_crowded() then return refuse('concurrency', 1000000) end

stored[3] = renew(tonumber(ARGV[20]), tonumber(stored[2] or '0'), tonumber(stored[3]))
local balances, available = {}, 0
for i, name in ipairs(BALANCES) do
  balances[name] = tonumber(stored[2 + i])
  available = available + balances[name]
end
local has_free_call = free_a_day + free_a_month > 0
  and (free_a_day == 0 or day_free_calls < free_a_day)
  and (free_a_month == 0 or month_free_calls < free_a_month)
local price_index, credits, is_free_call
for i = FIRST_PRICE, #ARGV, 2 do
  local price = tonumber(ARGV[i])
  local takes_free_call = price > 0 and ARGV[i + 1] == '1' and has_free_call
  if takes_free_call or price <= available then
    price_index, is_free_call = (i - FIRST_PRICE) / 2, takes_free_call and 1 or 0
    credits = takes_free_call and 0 or price
    break
  end
end
if not price_index then return refuse('credits', 0, int(available)) end
if is_dry then return seen(id, credits, price_index, 0) end

local changes = {TATS[unit], int(new_tat), 'day', int(DAY), 'day_requests', int(day_requests + 1),
  'month', int(MONTH), 'month_requests', int(month_requests + 1)}
if meter ~= ACCOUNT then
  redis.call('HSET', meter, unpack(changes))
  redis.call('EXPIRE', meter, METER_TTL_S)
  changes = {}
end
local function change(name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = int(value)
end
local parts, rest = {}, credits
for _, name in ipairs(BALANCES) do
  parts[name] = math.min(rest, balances[name])
  rest = rest - parts[name]
  if parts[name] > 0 then change(name, balances[name] - parts[name]) end
end
if credits > 0 then change('held', tonumber(stored[6]) + credits) end
if is_free_call > 0 then
  change('free_day', DAY)
  change('day_free_calls', day_free_calls + 1)
  change('free_month', MONTH)
  change('month_free_calls', month_free_calls + 1)
end
if #changes > 0 then redis.call('HSET', ACCOUNT, unpack(changes)) end
if fingerprint ~= '' and window_us > 0 then
  redis.call('SET', equal_key, id, 'PX', int(math.ceil(window_us / 1000)))
end
return save({owner = '', credits = credits, price_index = price_index, tat = new_tat},
  'charge', 'held', 'open_members', 1, 'is_free_call', is_free_call, 'day', int(DAY), 'month', int(MONTH),
  'subscription', int(parts.subscription), 'payg', int(parts.payg), 'enterprise', int(parts.enterprise))
