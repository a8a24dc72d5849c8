-- Gives messages to groups, to all of them or to none. KEYS[1] knows who listens to what,
-- of which ARGV[1] is the version that the publisher knows, and KEYS[2] is the history; the
-- groups are KEYS[3] and following. The messages begin at ARGV[4], the last ARGV[2] of
-- which stay in the history. A group keeps ARGV[3] messages at most.
-- Without a version they are for the queue of one group, which is made.
local bound, count = tonumber(ARGV[3]), #ARGV - 3
if ARGV[1] == '' then
  redis.call('HSETNX', KEYS[3], 'made', 1)
elseif (redis.call('HGET', KEYS[1], ':version') or '0') ~= ARGV[1] then
  return { 'changed', redis.call('HGETALL', KEYS[1]) }
end
for i = 3, #KEYS do
  local kept = redis.call('LLEN', KEYS[i] .. ':incoming') + redis.call('HLEN', KEYS[i] .. ':messages')
  if kept > 0 and kept + count > bound then
    return { 'full', i - 3 }
  end
end
for i = 3, #KEYS do
  redis.call('RPUSH', KEYS[i] .. ':incoming', unpack(ARGV, 4))
  redis.call('XADD', KEYS[i] .. ':bell', 'MAXLEN', 1, '*', 'r', 1)
end
if ARGV[1] ~= '' and ARGV[2] ~= '0' then
  redis.call('RPUSH', KEYS[2], unpack(ARGV, 4))
  redis.call('LTRIM', KEYS[2], -ARGV[2], -1)
end
return { 'done' }
