-- In front of every script: names, time, and what an event sets off.
--
-- KEYS[1] is the account's prefix, `mw:jobs:{ACCOUNT}`. ARGV: 1 now in microseconds; 2 the account; 3 the
-- verb. What all accounts share stands under `mw:jobs:`, so Valkey runs as one primary with replicas, not
-- as a cluster.
local P, NOW, ACCOUNT, VERB = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
local WAITING = 'mw:jobs:waiting'      -- sorted set: open items by the time when the queue is reminded of them
local OPENED = 'mw:jobs:opened'        -- sorted set: open items by the time when they were accepted
local EXPIRING = 'mw:jobs:expiring'    -- sorted set: results by the time when they are deleted
local DOOMED = 'mw:jobs:doomed'        -- sorted set: objects by the time when their bytes are to go
local DUE = 'mw:jobs:due-deliveries'   -- sorted set: deliveries by the time of their next try
local RATE = 'mw:jobs:rate'            -- hash: when an item last ended, and the mean time between two
local CHANGES = 'mw:jobs:changes'      -- channel: batches that changed
local DELIVERY_TTL_US = 7 * 86400000000

-- Lua's own conversion keeps 14 digits only.
local function int(number) return string.format('%.0f', number) end
local function ms(us) return int(math.ceil(us / 1000)) end
local function item_key(id) return P .. ':item:' .. id end
local function batch_key(id) return P .. ':batch:' .. id end
local function result_key(id) return 'mw:jobs:result:' .. id end  -- a signed URL does not tell whose it is
local function member(id) return ACCOUNT .. '/' .. id end
local function doom(object) redis.call('ZADD', DOOMED, int(NOW), object) end

-- The id depends on the event and the receiver alone: an event that is told twice is one delivery.
-- `body`: its text, where it is known already; else it is written when it is first sent. `trace`: that of
-- the request that it tells of, or empty.
local function add_delivery(event, subject, endpoint, url, body, trace)
  local id = 'msg_' .. redis.sha1hex(table.concat({ACCOUNT, event, subject, endpoint, url}, '\n'))
  local key = P .. ':delivery:' .. id
  if redis.call('EXISTS', key) == 1 then return end
  redis.call('HSET', key, 'event', event, 'subject', subject, 'endpoint', endpoint, 'url', url,
    'state', 'pending', 'attempts', 0, 'status', 0, 'created', int(NOW), 'next', int(NOW), 'body', body,
    'trace', trace)
  redis.call('PEXPIRE', key, ms(DELIVERY_TTL_US))
  redis.call('ZADD', P .. ':deliveries', int(NOW), id)
  redis.call('ZREMRANGEBYSCORE', P .. ':deliveries', '-inf', int(NOW - DELIVERY_TTL_US))
  redis.call('PEXPIRE', P .. ':deliveries', ms(DELIVERY_TTL_US))
  redis.call('ZADD', DUE, int(NOW), member(id))
end

-- One delivery for the URL that came with the request, and one for each endpoint that subscribed.
local function announce(event, subject, request_url, body, trace)
  body, trace = body or '', trace or ''
  if request_url ~= '' then add_delivery(event, subject, '', request_url, body, trace) end
  local stored = redis.call('HGETALL', P .. ':endpoints')
  for i = 1, #stored, 2 do
    local endpoint = cjson.decode(stored[i + 1])
    if not endpoint.is_disabled then
      for _, wanted in ipairs(endpoint.events) do
        if wanted == event then add_delivery(event, subject, stored[i], endpoint.url, body, trace) end
      end
    end
  end
end

local function index_result(id, content_type, size_bytes, expires_us, url_us)
  redis.call('HSET', result_key(id), 'account', ACCOUNT, 'type', content_type, 'size', size_bytes, 'created', int(NOW),
    'expires', int(expires_us),
    'url_until', int(url_us > 0 and math.min(expires_us, NOW + url_us) or expires_us))
  redis.call('ZADD', P .. ':results', int(NOW), id)
  redis.call('ZADD', EXPIRING, int(expires_us), member(id))
  redis.call('ZREM', DOOMED, 'results/' .. id)
end

local function drop_result(id)
  if redis.call('HGET', result_key(id), 'account') ~= ACCOUNT then return 0 end
  redis.call('DEL', result_key(id))
  redis.call('ZREM', P .. ':results', id)
  redis.call('ZREM', EXPIRING, member(id))
  doom('results/' .. id)
  return 1
end
