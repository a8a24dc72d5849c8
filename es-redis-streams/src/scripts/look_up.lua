-- What is kept under KEYS[1], if its tags, KEYS[2] and following, still look as they
-- did when it was begun; and how they look now. A tag that nobody knew gets the
-- stamp ARGV[1], and all are remembered for ARGV[2] milliseconds.
local stamps = {}
for i = 2, #KEYS do
  local stamp = redis.call('GET', KEYS[i])
  if not stamp then
    stamp = ARGV[1]
    redis.call('SET', KEYS[i], stamp, 'PX', ARGV[2])
  elseif redis.call('PTTL', KEYS[i]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
  stamps[#stamps + 1] = stamp
end
local stamp = table.concat(stamps, ',')
local found = redis.call('HMGET', KEYS[1], 'stamp', 'as_of', 'value')
if found[1] ~= stamp then
  return { stamp }
end
return { stamp, found[2], found[3], redis.call('PTTL', KEYS[1]) }
