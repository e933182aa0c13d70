-- Writing down who changed what. KEYS[2] is the log, a stream of all accounts together.
-- ARGV, after the common ones: 4 who; 5 request id; 6 how many events are kept; 7 for how many
-- milliseconds.
local AUDIT = KEYS[2]

local function audit(action, key_id, details)
  local now_ms = math.floor(NOW / 1000)
  -- With the server's clock the server also sees to it that ids grow when the clock does not.
  local id = ARGV[1] == '0' and '*' or int(now_ms) .. '-*'
  redis.call('XADD', AUDIT, 'MAXLEN', '~', ARGV[6], id, 'actor', ARGV[4], 'action', action,
    'account', string.match(KEYS[1], '{(.*)}'), 'key', key_id, 'request', ARGV[5],
    'details', cjson.encode(details))
  redis.call('XTRIM', AUDIT, 'MINID', '~', int(now_ms - tonumber(ARGV[7])))
end
