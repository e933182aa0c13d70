-- In front of every script of an account: its names, time and counters. The arithmetic is that of
-- quota.py and calendar_us.py.
--
-- Every number is an integer below 2^53, which a Lua double holds exactly. KEYS[1] is the account's
-- prefix, `mw:{ACCOUNT}`: what a request touches is derived from it, and the braces keep all of that in
-- one slot of a cluster.
--
-- ARGV: 1 now, or 0 for this server's clock; 2 how long settled requests are remembered; 3 how many of
-- them at most. Times are microseconds.

local ACCOUNT = KEYS[1] .. ':account'
local OPEN = KEYS[1] .. ':open'          -- sorted set: open requests by the time when they are given back
local DEFERRED = KEYS[1] .. ':deferred'  -- set: those of them that nobody waits for
local SETTLED = KEYS[1] .. ':settled'    -- list: settled requests, oldest first
local USED = KEYS[1] .. ':used'          -- hash: when each key last asked for something
local BALANCES = {'subscription', 'payg', 'enterprise'}
local WINDOW_US = 60000000
local DAY_US = 86400000000
local EXACT_LIMIT = 9007199254740992
local USAGE_TTL_S = 430 * 86400
local MAX_USAGE_FIELDS = 2000
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

-- Add to today's counters of a key in a dialect: names and values, one after the other. A day with too
-- many different ones counts the rest without their names.
local function count(dialect, key_id, ...)
  local day = KEYS[1] .. ':usage:' .. int(DAY)
  local row = '/' .. dialect .. '/' .. key_id
  local counters = {...}
  for i = 1, #counters, 2 do
    local name, value = counters[i], counters[i + 1]
    if value > 0 and redis.call('HINCRBY', day, name .. row, int(value)) == value then
      -- A new one.
      if redis.call('HLEN', day) > MAX_USAGE_FIELDS then
        redis.call('HDEL', day, name .. row)
        redis.call('HINCRBY', day, name .. '//', int(value))
      end
      redis.call('EXPIRE', day, USAGE_TTL_S, 'NX')
    end
  end
end

local function note_use(key_id)
  if key_id ~= '' then redis.call('HSET', USED, key_id, int(NOW)) end
end

-- Where the rate and the quotas of a request are counted: with its key, or with the whole account.
local function meter_of(scope, key_id)
  return scope == 'key' and KEYS[1] .. ':meter:' .. key_id or ACCOUNT
end

local METER_TTL_S = 62 * 86400

-- The rate limit: the theoretical arrival time after `weight` units, or the microseconds to wait for them.
local function weigh(tat, limit, weight)
  if weight == 0 then return tat, 0 end
  local new_tat = tat + math.floor(weight * WINDOW_US / limit)
  if new_tat - NOW > WINDOW_US then return nil, new_tat - NOW - WINDOW_US end
  return new_tat, 0
end

-- A month has begun: what is left of the subscription expires, and the plan's credits take its place.
-- `renewed` is the month of the last renewal. Returns the subscription.
local function renew(monthly, renewed, subscription)
  if monthly == 0 or renewed >= MONTH then return subscription end
  local granted = tonumber(redis.call('HGET', ACCOUNT, 'granted'))
  local credits = math.min(monthly, EXACT_LIMIT - 1 - granted)
  redis.call('HINCRBY', ACCOUNT, 'expired', int(subscription))
  redis.call('HSET', ACCOUNT, 'subscription', int(credits), 'granted', int(granted + credits),
    'renewed', int(MONTH), 'emptied', int(MONTH))
  return credits
end
