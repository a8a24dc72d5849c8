-- Gives messages to groups, to all of them or to none. KEYS[1] knows who listens to what,
-- of which ARGV[1] is the version that the publisher knows, and KEYS[2] is the history; the
-- groups are KEYS[3] and following. There are ARGV[4] messages, which begin at ARGV[5], and
-- the last ARGV[2] of all stay in the history. A group keeps ARGV[3] messages at most.
-- Behind the messages stands for each group which of them it gets, or nothing if it gets all.
-- Without a version they are for the queue of one group, which is made.
local bound, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local last = 4 + count
if ARGV[1] == '' then
  redis.call('HSETNX', KEYS[3], 'made', 1)
elseif (redis.call('HGET', KEYS[1], ':version') or '0') ~= ARGV[1] then
  return { 'changed', redis.call('HGETALL', KEYS[1]) }
end
local gets = {}
for i = 3, #KEYS do
  local its, places = {}, ARGV[last + i - 2]
  for place in string.gmatch(places, '%d+') do
    its[#its + 1] = ARGV[4 + place]
  end
  gets[i] = places ~= '' and its or nil
  local kept = redis.call('LLEN', KEYS[i] .. ':incoming') + redis.call('HLEN', KEYS[i] .. ':messages')
  if kept > 0 and kept + (gets[i] and #its or count) > bound then
    return { 'full', i - 3 }
  end
end
for i = 3, #KEYS do
  if gets[i] then
    redis.call('RPUSH', KEYS[i] .. ':incoming', unpack(gets[i]))
  else
    redis.call('RPUSH', KEYS[i] .. ':incoming', unpack(ARGV, 5, last))
  end
  redis.call('XADD', KEYS[i] .. ':bell', 'MAXLEN', 1, '*', 'r', 1)
end
if ARGV[1] ~= '' and ARGV[2] ~= '0' then
  redis.call('RPUSH', KEYS[2], unpack(ARGV, 5, last))
  redis.call('LTRIM', KEYS[2], -ARGV[2], -1)
end
return { 'done' }
