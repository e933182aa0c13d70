-- Make, change or look at an account.
-- ARGV: 1 now or 0, 2 verb; create: 3 display name, 4 plan, 5 credits; plan: 3 plan;
-- grant: 3 request id, 4 balance, 5 credits; look: nothing more.
-- Returns a flat list of names and values with `now`, or an empty list when there is no such account
-- (create: when it exists already).
local now = now_from(ARGV[1])
local verb = ARGV[2]
local exists = redis.call('EXISTS', account_key) == 1
if (verb == 'create') == exists then return {} end

if verb == 'create' then
  redis.call('HSET', account_key, 'display_name', ARGV[3], 'plan', ARGV[4], 'subscription', ARGV[5],
    'payg', 0, 'enterprise', 0, 'held', 0, 'spent', 0, 'granted', ARGV[5], 'tat', 0, 'created', int(now))
end
expire(now)
roll_month(now)
if verb == 'plan' then redis.call('HSET', account_key, 'plan', ARGV[3]) end
if verb == 'grant' then
  local grant_key = KEYS[1] .. ':grant:' .. ARGV[3]
  if redis.call('SET', grant_key, ARGV[5], 'NX', 'EX', 30 * 86400) then
    redis.call('HINCRBY', account_key, ARGV[4], ARGV[5])
    redis.call('HINCRBY', account_key, 'granted', ARGV[5])
  end
end
local reply = redis.call('HGETALL', account_key)
reply[#reply + 1] = 'now'
reply[#reply + 1] = int(now)
return reply
