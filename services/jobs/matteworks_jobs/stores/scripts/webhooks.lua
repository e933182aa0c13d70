-- Endpoints and deliveries.
local SECRETS = P .. ':secrets'

local function delivery_of(id) return P .. ':delivery:' .. id end

-- 4 id; 5 endpoint as JSON; 6 its secrets as JSON; 7 most endpoints. Returns 0 when there are too many.
if VERB == 'add_endpoint' then
  if redis.call('HLEN', P .. ':endpoints') >= tonumber(ARGV[7]) then return 0 end
  redis.call('HSET', P .. ':endpoints', ARGV[4], ARGV[5])
  redis.call('HSET', SECRETS, ARGV[4], ARGV[6])
  return 1
end

-- 4 id. Returns 0 when there is none.
if VERB == 'remove_endpoint' then
  redis.call('HDEL', SECRETS, ARGV[4])
  return redis.call('HDEL', P .. ':endpoints', ARGV[4])
end

-- 4 id, empty for URLs of requests; 5 new secret; 6 until when the old one signs too; 7 whether to keep a
-- secret that is there. Returns the current secret, or an empty text when there is no such endpoint.
if VERB == 'secret' then
  if ARGV[4] ~= '' and redis.call('HEXISTS', P .. ':endpoints', ARGV[4]) == 0 then return '' end
  local stored = redis.call('HGET', SECRETS, ARGV[4])
  local old = stored and cjson.decode(stored)
  if old and ARGV[7] == '1' then return old.current end
  local secrets = {current = ARGV[5]}
  if old then
    secrets.previous = old.current
    secrets.previous_until = ARGV[6]
  end
  redis.call('HSET', SECRETS, ARGV[4], cjson.encode(secrets))
  return ARGV[5]
end

-- 4 most at once; 5 for how long; 6 most of one account; 7 how many of each account the caller has already,
-- as JSON. Takes what is due of any account; each is due again when its lease ends. Returns their members.
if VERB == 'lease' then
  local most, most_of_account, had, taken = tonumber(ARGV[4]), tonumber(ARGV[6]), cjson.decode(ARGV[7]), {}
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'LIMIT', 0, 1000)) do
    if #taken == most then break end
    local account = string.match(one, '^(.*)/[^/]*$')
    had[account] = (had[account] or 0) + 1
    if had[account] <= most_of_account then
      redis.call('ZADD', DUE, int(NOW + tonumber(ARGV[5])), one)
      taken[#taken + 1] = one
    end
  end
  return taken
end

-- 4 delivery; 5 its text, kept from the first try on. Returns the text to send.
if VERB == 'fix_body' then
  if redis.call('EXISTS', delivery_of(ARGV[4])) == 0 then return ARGV[5] end
  local body = redis.call('HGET', delivery_of(ARGV[4]), 'body')
  if body ~= '' then return body end
  redis.call('HSET', delivery_of(ARGV[4]), 'body', ARGV[5])
  return ARGV[5]
end

-- 4 delivery; 5 pending, delivered or failed; 6 HTTP status; 7 when it is tried next; 8 whether its
-- endpoint is told no more.
if VERB == 'end_attempt' then
  local id, state = ARGV[4], ARGV[5]
  local key = delivery_of(id)
  local endpoint = redis.call('HGET', key, 'endpoint')
  if not endpoint then return redis.call('ZREM', DUE, member(id)) end
  redis.call('HINCRBY', key, 'attempts', 1)
  redis.call('HSET', key, 'state', state, 'status', ARGV[6], 'next', state == 'pending' and ARGV[7] or 0)
  if state == 'pending' then
    redis.call('ZADD', DUE, ARGV[7], member(id))
  else
    redis.call('ZREM', DUE, member(id))
  end
  local stored = ARGV[8] == '1' and redis.call('HGET', P .. ':endpoints', endpoint)
  if stored then
    local facts = cjson.decode(stored)
    facts.is_disabled = true
    redis.call('HSET', P .. ':endpoints', endpoint, cjson.encode(facts))
  end
  return 1
end

-- 4 delivery: from the first try on. Returns 0 when there is none.
if VERB == 'resend' then
  local key = delivery_of(ARGV[4])
  if redis.call('EXISTS', key) == 0 then return 0 end
  redis.call('HSET', key, 'state', 'pending', 'attempts', 0, 'next', int(NOW))
  redis.call('PEXPIRE', key, ms(DELIVERY_TTL_US))
  redis.call('ZADD', DUE, int(NOW), member(ARGV[4]))
  return 1
end

-- 4 what the account was ever given; 5 the text. Tells that credits run low, once for each such sum.
if VERB == 'announce_low' then
  if tonumber(redis.call('GET', P .. ':told-low') or '-1') >= tonumber(ARGV[4]) then return 0 end
  redis.call('SET', P .. ':told-low', ARGV[4])
  announce('credits.low', ARGV[4], '', ARGV[5])
  return 1
end
