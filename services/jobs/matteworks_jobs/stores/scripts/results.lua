-- The index of results. Bytes are deleted afterwards, by whoever finds them among the doomed.

-- 4 id; 5 content type; 6 bytes; 7 when it expires; 8 for how long its URL works (0: as long).
if VERB == 'add' then
  index_result(ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]))
  return 1
end

-- 4 id. Returns 0 when there is none.
if VERB == 'drop' then return drop_result(ARGV[4]) end

-- 4 most at once: drop what has expired, of any account; returns how many.
if VERB == 'expire' then
  local found = redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', int(NOW), 'LIMIT', 0, ARGV[4])
  for _, one in ipairs(found) do
    local id
    ACCOUNT, id = string.match(one, '^(.*)/([^/]*)$')
    P = 'mw:jobs:{' .. ACCOUNT .. '}'
    if drop_result(id) == 0 then redis.call('ZREM', EXPIRING, one) end
  end
  return #found
end
