-- In front of every script of an account; the arithmetic is that of quota.py and calendar_us.py.
--
-- Every number is an integer below 2^53, which a Lua double holds exactly. KEYS[1] is the account's
-- prefix, `mw:{ACCOUNT}`: every other key is derived from it, and the braces keep all of them in one
-- slot of a cluster.
--
-- ARGV: 1 now, or 0 for this server's clock; 2 how long settled requests are remembered; 3 how many of
-- them at most. Times are microseconds.

local ACCOUNT = KEYS[1] .. ':account'
local OPEN = KEYS[1] .. ':open'        -- sorted set: open requests by the time when they are given back
local SETTLED = KEYS[1] .. ':settled'  -- list: settled requests, oldest first
local BALANCES = {'subscription', 'payg', 'enterprise'}
local WINDOW_US = 60000000
local DAY_US = 86400000000
local USAGE_TTL_S = 430 * 86400
local MAX_OVERDUE_AT_ONCE = 100

local RECORD_TTL_US, MAX_SETTLED = tonumber(ARGV[2]), tonumber(ARGV[3])
local NOW = tonumber(ARGV[1])
if NOW == 0 then
  local time = redis.call('TIME')
  NOW = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Lua's own conversion keeps 14 digits only.
local function int(number) return string.format('%.0f', number) end

-- The calendar from days since 1970-01-01 and back: H. Hinnant, "chrono-Compatible Low-Level Date
-- Algorithms". Months count from year 0, so that they can be compared and incremented.
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor(
    (doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return (yoe + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
end

local function first_day_of(months)
  local year, month = math.floor(months / 12), months % 12 + 1
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local DAY = math.floor(NOW / DAY_US)
local MONTH = month_of(DAY)

local function count(name, value)
  if value > 0 then
    local key = KEYS[1] .. ':usage:' .. int(DAY)
    redis.call('HINCRBY', key, name, int(value))
    redis.call('EXPIRE', key, USAGE_TTL_S, 'NX')
  end
end

-- A request's record. `owner` is empty in the request that holds a charge of its own; a repeat names the
-- one whose charge it shares. Only owners use the fields from `charge` on.
local TEXTS = {'state', 'owner', 'shape', 'charge'}
local NUMBERS = {
  'credits', 'price_index', 'megapixels', 'charged', 'limit', 'tat', 'made', 'expires', 'forget',
  'open_members', 'subscription', 'payg', 'enterprise', 'is_free_call', 'day', 'month',
}

local function record_key(id) return KEYS[1] .. ':request:' .. id end

local function load(id)
  local values = redis.call('HMGET', record_key(id),
    TEXTS[1], TEXTS[2], TEXTS[3], TEXTS[4], unpack(NUMBERS))
  if not values[1] then return nil end
  local record = {id = id}
  for i, name in ipairs(TEXTS) do record[name] = values[i] end
  for i, name in ipairs(NUMBERS) do record[name] = tonumber(values[#TEXTS + i] or '0') end
  -- The server forgets by its own clock; a caller that brings its own time forgets by that.
  if record.forget > 0 and record.forget <= NOW then return nil end
  return record
end

-- Settled for good: remember it for a while, and only so many of them.
local function retire(record)
  local key, ttl_ms = record_key(record.id), int(math.ceil(RECORD_TTL_US / 1000))
  redis.call('HSET', key, 'forget', int(NOW + RECORD_TTL_US))
  redis.call('PEXPIRE', key, ttl_ms)
  local settled_count = redis.call('RPUSH', SETTLED, record.id)
  redis.call('PEXPIRE', SETTLED, ttl_ms)
  if settled_count > MAX_SETTLED then
    local oldest = record_key(redis.call('LPOP', SETTLED))
    -- The id may be in use again: open requests are never forgotten.
    if tonumber(redis.call('HGET', oldest, 'forget') or '0') > 0 then redis.call('DEL', oldest) end
  end
end

-- Close one request; the charge of its owner is settled by the caller, after this.
local function close(record, state)
  redis.call('ZREM', OPEN, record.id)
  redis.call('HSET', record_key(record.id), 'state', state)
  local owner = record
  if record.owner ~= '' then
    owner = load(record.owner)
    retire(record)
  end
  record.state = state
  owner.open_members = owner.open_members - 1
  redis.call('HSET', record_key(owner.id), 'open_members', int(owner.open_members))
  if owner.open_members == 0 then retire(owner) end
  return owner
end

-- Returns the thousandths of a credit that went back: 0 while an equal request still needs the charge.
local function release(record)
  local owner = close(record, 'released')
  count('released', 1)
  if owner.charge ~= 'held' or owner.open_members > 0 then return 0 end
  redis.call('HSET', record_key(owner.id), 'charge', 'returned')
  if owner.credits > 0 then
    redis.call('HINCRBY', ACCOUNT, 'held', int(-owner.credits))
    for _, name in ipairs(BALANCES) do
      if owner[name] > 0 then redis.call('HINCRBY', ACCOUNT, name, int(owner[name])) end
    end
  end
  local periods = redis.call('HMGET', ACCOUNT, 'day', 'month')
  if tonumber(periods[1]) == owner.day then redis.call('HINCRBY', ACCOUNT, 'day_requests', -1) end
  if tonumber(periods[2]) == owner.month then
    redis.call('HINCRBY', ACCOUNT, 'month_requests', -1)
    if owner.is_free_call > 0 then redis.call('HINCRBY', ACCOUNT, 'month_free_calls', -1) end
  end
  return owner.credits
end

-- Give back what nobody settled in time; returns how many requests.
local function release_overdue()
  local ids = redis.call('ZRANGEBYSCORE', OPEN, '-inf', int(NOW), 'LIMIT', 0, MAX_OVERDUE_AT_ONCE)
  for _, id in ipairs(ids) do
    local record = load(id)
    -- Without a record nothing can be given back: a server that evicts keys has lost money, not we.
    if record then release(record) else redis.call('ZREM', OPEN, id) end
  end
  return #ids
end
