-- Items and batches: accepted, claimed for the charge, ended, cancelled. Each verb is one transaction.
local MEAN_WEIGHT, LONGEST_GAP_US = 0.1, 30000000
local COUNTERS = {succeeded = 'succeeded', failed = 'failed', cancelled = 'cancelled'}

local function is_open(state) return state == 'pending' or state == 'charging' end

local function wait(id)
  redis.call('ZADD', WAITING, int(NOW), member(id))
  redis.call('ZADD', OPENED, int(NOW), member(id))
end

-- Close an item; `outcome` is what its reader gets.
local function close(id, state, outcome)
  redis.call('HSET', item_key(id), 'state', state, 'ended', int(NOW), 'outcome', outcome)
  if redis.call('HGET', item_key(id), 'has_input') == '1' then doom('inputs/' .. id) end
  redis.call('HDEL', item_key(id), 'spec')
  redis.call('ZREM', WAITING, member(id))
  redis.call('ZREM', OPENED, member(id))
end

-- Count `count` items of a batch that ended as `state`; the last one ends the batch.
local function progress(batch, state, count)
  local key = batch_key(batch)
  redis.call('HINCRBY', key, COUNTERS[state], count)
  local ended = redis.call('HINCRBY', key, 'done', count)
  local stored = redis.call('HMGET', key, 'items', 'webhook', 'trace')
  if ended == tonumber(stored[1]) then
    redis.call('HSET', key, 'ended', int(NOW))
    announce('batch.completed', batch, stored[2], '', stored[3])
  end
  redis.call('PUBLISH', CHANGES, member(batch))
end

local function measure_rate()
  local stored = redis.call('HMGET', RATE, 'last', 'mean')
  if stored[1] and redis.call('ZCARD', WAITING) > 0 then
    local gap = math.min(NOW - tonumber(stored[1]), LONGEST_GAP_US)
    local mean = tonumber(stored[2] or gap)
    redis.call('HSET', RATE, 'mean', int(mean + MEAN_WEIGHT * (gap - mean)))
  end
  redis.call('HSET', RATE, 'last', int(NOW))
end

-- 4 batch or empty; 5 its webhook; 6 how long records are kept; 7 whether this is the last part; 8 most
-- items that may wait in all; 9 the trace of the request, or empty; then five for each item: id, index,
-- request, webhook, whether it has an input in the object store. Returns 0 when too many wait.
if VERB == 'accept' then
  local batch, keep_us, is_last, max_waiting = ARGV[4], tonumber(ARGV[6]), ARGV[7] == '1', tonumber(ARGV[8])
  local list = batch_key(batch) .. ':items'
  local added = (#ARGV - 9) / 5
  if redis.call('ZCARD', WAITING) + added + (batch ~= '' and redis.call('LLEN', list) or 0) > max_waiting then
    return 0
  end
  for i = 10, #ARGV, 5 do
    local key = item_key(ARGV[i])
    redis.call('HSET', key, 'batch', batch, 'index', ARGV[i + 1], 'spec', ARGV[i + 2], 'webhook', ARGV[i + 3],
      'has_input', ARGV[i + 4], 'state', 'pending', 'created', int(NOW), 'charge', 0, 'starts', 0,
      'trace', ARGV[9])
    redis.call('PEXPIRE', key, ms(keep_us))
    if batch ~= '' then
      redis.call('RPUSH', list, ARGV[i])
    else
      wait(ARGV[i])
    end
  end
  if batch == '' then return 1 end
  redis.call('PEXPIRE', list, ms(keep_us))
  if is_last then
    local ids = redis.call('LRANGE', list, 0, -1)
    redis.call('HSET', batch_key(batch), 'items', #ids, 'webhook', ARGV[5], 'created', int(NOW), 'done', 0,
      'succeeded', 0, 'failed', 0, 'cancelled', 0, 'trace', ARGV[9])
    redis.call('PEXPIRE', batch_key(batch), ms(keep_us))
    redis.call('ZADD', P .. ':batches', int(NOW), batch)
    redis.call('ZREMRANGEBYSCORE', P .. ':batches', '-inf', int(NOW - keep_us))
    for _, id in ipairs(ids) do wait(id) end
  end
  return 1
end

-- 4 batch that was begun and not accepted: forget its items.
if VERB == 'discard' then
  local list = batch_key(ARGV[4]) .. ':items'
  if redis.call('EXISTS', batch_key(ARGV[4])) == 1 then return 0 end
  for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do
    if redis.call('HGET', item_key(id), 'has_input') == '1' then doom('inputs/' .. id) end
    redis.call('DEL', item_key(id))
  end
  redis.call('DEL', list)
  return 1
end

-- 4 item. From here on it is charged, so it cannot be cancelled. Returns 0 when it was cancelled or ended.
if VERB == 'claim' then
  if not is_open(redis.call('HGET', item_key(ARGV[4]), 'state')) then return 0 end
  redis.call('HSET', item_key(ARGV[4]), 'state', 'charging')
  return 1
end

-- 4 item; 5 succeeded or failed; 6 outcome; of a success 7 content type, 8 bytes, 9 when the result
-- expires, 10 for how long its URL works (0: as long). Returns 0 when it had ended before.
if VERB == 'finish' then
  local id, state = ARGV[4], ARGV[5]
  local stored = redis.call('HMGET', item_key(id), 'state', 'batch', 'webhook', 'trace')
  if not is_open(stored[1]) then return 0 end
  close(id, state, ARGV[6])
  if state == 'succeeded' then
    index_result(id, ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]))
  else
    doom('results/' .. id)
  end
  announce(state == 'succeeded' and 'image.completed' or 'image.failed', id, stored[3], '', stored[4])
  if stored[2] ~= '' then progress(stored[2], state, 1) end
  measure_rate()
  return 1
end

-- 4 batch. Returns how many items this cancelled, -1 when there is no such batch.
if VERB == 'cancel' then
  local batch, cancelled_count = ARGV[4], 0
  if redis.call('EXISTS', batch_key(batch)) == 0 then return -1 end
  for _, id in ipairs(redis.call('LRANGE', batch_key(batch) .. ':items', 0, -1)) do
    if redis.call('HGET', item_key(id), 'state') == 'pending' then
      close(id, 'cancelled', '')
      doom('results/' .. id)
      cancelled_count = cancelled_count + 1
    end
  end
  if cancelled_count > 0 then progress(batch, 'cancelled', cancelled_count) end
  return cancelled_count
end
