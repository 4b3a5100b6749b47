"""What Redis does in one step.

Each script names its keys by `KEYS`, and touches no others. Epochs are microseconds of the server's
clock, or one more than the last one where that clock went back.
"""

# KEYS: log, lease. ARGV: token, expected tail ("*": any), whether it opens an epoch, the entry,
# whether to publish it whole, milliseconds to live, the oldest entry to keep ("": all, "*": this).
APPEND = """
local lease = redis.call('GET', KEYS[2])
if not lease or string.sub(lease, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then
  return {'FENCED'}
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local tail = ''
if last[1] then
  tail = last[1][1]
end
if ARGV[2] ~= '*' and ARGV[2] ~= tail then
  return {'MOVED'}
end
local epoch, n = string.match(tail, '^(%d+)-(%d+)$')
if ARGV[3] == '1' or not epoch then
  local now = redis.call('TIME')
  local made = tonumber(now[1]) * 1000000 + tonumber(now[2])
  if epoch then
    made = math.max(made, tonumber(epoch) + 1)
  end
  epoch, n = string.format('%.0f', made), 0
end
local id = epoch .. '-' .. string.format('%.0f', tonumber(n) + 1)
redis.call('XADD', KEYS[1], id, 'e', ARGV[4])
if ARGV[7] == '*' then
  redis.call('XTRIM', KEYS[1], 'MINID', id)
elseif ARGV[7] ~= '' then
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[7])
end
if ARGV[5] == '1' then
  redis.call('PUBLISH', KEYS[1], 'e ' .. id .. '\\n' .. ARGV[4])
else
  redis.call('PUBLISH', KEYS[1], 'e ' .. id .. '\\n')
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {'OK', id}
"""

# KEYS: processes, wanted, then for each claim log, lease, writer, target. ARGV: the process, the
# lease and the life of a log in milliseconds; what decides how many leases to take (see `Share`):
# the keys, how many beyond the share less those that are led, and the late ones; then for each
# claim: token, whether it wants to lead, what it says, rank of the writer, whether it follows, the
# key, its target.
CLAIM = """
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local lease, life = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], ms + 3 * lease, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
redis.call('PEXPIRE', KEYS[1], 3 * lease)
local share = math.ceil(tonumber(ARGV[4]) / redis.call('ZCARD', KEYS[1]))
local most = math.max(share + tonumber(ARGV[5]), 0) + tonumber(ARGV[6])
local answer = {}
local k, a = 2, 6
while k < #KEYS do
  local log, held, writer, target = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4]
  local token, wants, says = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local value = redis.call('GET', held)
  local mine = value and string.sub(value, 1, #token + 1) == token .. ' '
  if not value and wants == '1' and most > 0 then
    most = most - 1
    mine = true
  end
  if mine then
    value = token .. ' ' .. says
    redis.call('SET', held, value, 'PX', lease)
    redis.call('PEXPIRE', log, life)
  end
  local rank = redis.call('GET', writer)
  if tonumber(ARGV[a + 4]) > tonumber(rank or '0') then
    rank = ARGV[a + 4]
    redis.call('SET', writer, rank, 'PX', life)
    redis.call('PUBLISH', log, 'h')
  end
  if ARGV[a + 5] == '1' then
    redis.call('ZADD', KEYS[2], ms + 3 * lease, ARGV[a + 6])
    if ARGV[a + 7] ~= '' then
      redis.call('SET', target, ARGV[a + 7], 'PX', 3 * lease)
    else
      redis.call('PEXPIRE', target, 3 * lease)
    end
  end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  local tail = ''
  if last[1] then
    tail = last[1][1]
  end
  answer[#answer + 1] = {value or '', redis.call('PTTL', held), tail, rank or '0'}
  k, a = k + 4, a + 7
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ms)
redis.call('PEXPIRE', KEYS[2], 3 * lease)
return answer
"""

# KEYS: log, lease. ARGV: token.
RELEASE = """
local lease = redis.call('GET', KEYS[2])
if lease and string.sub(lease, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', KEYS[1], 'h')
end
"""
