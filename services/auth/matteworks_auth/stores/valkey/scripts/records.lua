-- Requests that were admitted: how they are kept, closed and given back.
--
-- A request's record: `owner` is empty in the request that holds a charge of its own; a repeat names the
-- one whose charge it shares. Only owners use the fields from `charge` on.
local FIELDS = {
  'state', 'owner', 'shape', 'unit', 'scope', 'key', 'dialect', 'urgency', 'charge',
  'credits', 'price_index', 'megapixels', 'charged', 'limit', 'tat', 'made', 'expires', 'forget',
  'open_members', 'subscription', 'payg', 'enterprise', 'is_free_call', 'day', 'month',
}
local TEXT_COUNT = 9

local function record_key(id) return KEYS[1] .. ':request:' .. id end

local function load(id)
  local values = redis.call('HMGET', record_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local record = {id = id}
  for i = 1, #FIELDS do
    record[FIELDS[i]] = i <= TEXT_COUNT and values[i] or tonumber(values[i] or '0')
  end
  -- The server forgets by its own clock; a caller that brings its own time forgets by that.
  if record.forget > 0 and record.forget <= NOW then return nil end
  return record
end

local FORGET_AT = int(NOW + RECORD_TTL_US)

-- Settled for good: remember it for a while, and only so many of them. Its field `forget` is FORGET_AT.
local function retire(record)
  local key, ttl_ms = record_key(record.id), int(math.ceil(RECORD_TTL_US / 1000))
  redis.call('PEXPIRE', key, ttl_ms)
  local settled_count = redis.call('RPUSH', SETTLED, record.id)
  redis.call('PEXPIRE', SETTLED, ttl_ms)
  if settled_count > MAX_SETTLED then
    local oldest = record_key(redis.call('LPOP', SETTLED))
    -- The id may be in use again: open requests are never forgotten.
    if tonumber(redis.call('HGET', oldest, 'forget') or '0') > 0 then redis.call('DEL', oldest) end
  end
end

-- Queued work is no call: the one that queued it was.
local function calls_of(urgency) return urgency == 'deferred' and 0 or 1 end

-- Close one request; the charge of its owner is settled by the caller, after this.
local function close(record, state)
  redis.call('ZREM', OPEN, record.id)
  if record.urgency == 'deferred' then redis.call('SREM', DEFERRED, record.id) end
  local owner = record
  if record.owner ~= '' then
    owner = load(record.owner)
    redis.call('HSET', record_key(record.id), 'state', state, 'forget', FORGET_AT)
    retire(record)
  else
    redis.call('HSET', record_key(record.id), 'state', state)
  end
  record.state = state
  owner.open_members = owner.open_members - 1
  local forget = owner.open_members == 0 and FORGET_AT or 0
  redis.call('HSET', record_key(owner.id), 'open_members', int(owner.open_members), 'forget', forget)
  if owner.open_members == 0 then retire(owner) end
  return owner
end

-- Give back a request's share of the quotas, unless a new day or month has begun.
local function return_quota(owner)
  local meter = meter_of(owner.scope, owner.key)
  local periods = redis.call('HMGET', meter, 'day', 'month')
  if tonumber(periods[1]) == owner.day then redis.call('HINCRBY', meter, 'day_requests', -1) end
  if tonumber(periods[2]) == owner.month then redis.call('HINCRBY', meter, 'month_requests', -1) end
  if owner.is_free_call == 0 then return end
  periods = redis.call('HMGET', ACCOUNT, 'free_day', 'free_month')
  if tonumber(periods[1]) == owner.day then redis.call('HINCRBY', ACCOUNT, 'day_free_calls', -1) end
  if tonumber(periods[2]) == owner.month then redis.call('HINCRBY', ACCOUNT, 'month_free_calls', -1) end
end

-- Returns the thousandths of a credit that went back: 0 while an equal request still needs the charge.
local function release(record)
  local owner = close(record, 'released')
  count(record.dialect, record.key, 'calls', calls_of(record.urgency), 'released', 1)
  if owner.charge ~= 'held' or owner.open_members > 0 then return 0 end
  redis.call('HSET', record_key(owner.id), 'charge', 'returned')
  return_quota(owner)
  if owner.credits == 0 then return 0 end
  redis.call('HINCRBY', ACCOUNT, 'held', int(-owner.credits))
  local returned = 0
  for _, name in ipairs(BALANCES) do
    local part, into = owner[name], name
    if part > 0 then
      -- Of a subscription that was renewed since, so that it has ended.
      if name == 'subscription' and tonumber(redis.call('HGET', ACCOUNT, 'emptied') or '0') > owner.month then
        into = 'expired'
      else
        returned = returned + part
      end
      redis.call('HINCRBY', ACCOUNT, into, int(part))
    end
  end
  return returned
end

-- Give back what nobody settled in time; returns how many requests.
local function release_overdue()
  local ids = redis.call('ZRANGEBYSCORE', OPEN, '-inf', int(NOW), 'LIMIT', 0, MAX_OVERDUE_AT_ONCE)
  for _, id in ipairs(ids) do
    local record = load(id)
    -- Without a record nothing can be given back: a server that evicts keys has lost money, not we.
    if record then
      release(record)
    else
      redis.call('ZREM', OPEN, id)
      redis.call('SREM', DEFERRED, id)
    end
  end
  return #ids
end
