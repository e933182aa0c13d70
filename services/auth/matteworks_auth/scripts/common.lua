-- Shared by every script; placed in front of each. Same arithmetic as quota.py and calendar_us.py.
-- All numbers are integers below 2^53, so a Lua double holds them exactly.
-- KEYS[1] is the account's prefix, `mw:{<account id>}`: the braces keep all its keys on one node.

local account_key = KEYS[1] .. ':account'
local open_key = KEYS[1] .. ':open'

local WINDOW_US = 60000000
local DAY_US = 86400000000
local SPENDING_ORDER = {'subscription', 'payg', 'enterprise'}

-- Adding 0 turns the double -0 into 0, which HINCRBY would refuse.
local function int(number) return string.format('%.0f', number + 0) end

-- The server's own clock, so that replicas with skewed clocks agree; a test passes its own time.
local function now_from(argument)
  local now = tonumber(argument)
  if now > 0 then return now end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Year and month of a count of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year, month
end

local function days_before(year, month)
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return era * 146097 + doe - 719468
end

local function month_of(now)
  local year, month = civil(math.floor(now / DAY_US))
  return string.format('%04d-%02d', year, month)
end

local function until_next_month_us(now)
  local year, month = civil(math.floor(now / DAY_US))
  if month == 12 then year, month = year + 1, 1 else month = month + 1 end
  return days_before(year, month) * DAY_US - now
end

local function usage_key(now) return KEYS[1] .. ':usage:' .. int(math.floor(now / DAY_US)) end
local function reservation_key(request_id) return KEYS[1] .. ':reservation:' .. request_id end

local function number_in(key, name) return tonumber(redis.call('HGET', key, name) or '0') end

local function count(now, increments)
  local key = usage_key(now)
  for name, value in pairs(increments) do redis.call('HINCRBY', key, name, int(value)) end
  redis.call('EXPIRE', key, 400 * 86400)
end

local function weigh(tat, now, limit, weight)
  if limit == 0 then return true, now, 0, 0 end
  local base = math.max(tat, now)
  local wanted = base + math.ceil(weight * WINDOW_US / limit)
  local function remaining(at) return math.max(0, math.floor((WINDOW_US - (at - now)) * limit / WINDOW_US)) end
  if wanted - now > WINDOW_US then return false, base, remaining(base), wanted - WINDOW_US - now end
  return true, wanted, remaining(wanted), 0
end

local function roll_month(now)
  local month = month_of(now)
  if redis.call('HGET', account_key, 'month') ~= month then
    redis.call('HSET', account_key, 'month', month, 'month_requests', 0, 'month_free_calls', 0)
  end
end

local function subtract_to_zero(name, value)
  local left = math.max(0, number_in(account_key, name) - value)
  redis.call('HSET', account_key, name, int(left))
end

local function give_back(request_id, now)
  local key = reservation_key(request_id)
  local amount = number_in(key, 'amount')
  redis.call('HSET', key, 'state', 'released')
  for _, name in ipairs(SPENDING_ORDER) do
    local part = number_in(key, 'part_' .. name)
    if part > 0 then redis.call('HINCRBY', account_key, name, int(part)) end
  end
  redis.call('HINCRBY', account_key, 'held', int(-amount))
  subtract_to_zero('month_requests', 1)
  subtract_to_zero('month_free_calls', number_in(key, 'is_free_call'))
  redis.call('ZREM', open_key, request_id)
  count(now, {released = 1})
  return amount
end

-- Give back what nobody settled in time; returns how many.
local function expire(now)
  local overdue = redis.call('ZRANGEBYSCORE', open_key, '-inf', int(now))
  for _, request_id in ipairs(overdue) do give_back(request_id, now) end
  return #overdue
end
